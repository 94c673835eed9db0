"""The same question to this program and to its peers, on the same rows, in one run."""

"""Lambda: its list of instance types. Machines are not started there."""

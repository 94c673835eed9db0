"""The HTTP service: the read-only verbs for a whole organisation, with the words and the JSON of the command line."""

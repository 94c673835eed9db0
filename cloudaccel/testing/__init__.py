"""Suites that every provider passes, ours or a stranger's (subclass one in your tests), and a fake price source."""

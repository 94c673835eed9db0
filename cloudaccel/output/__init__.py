"""Answers as plain JSON values and text, the same by every door: the command line, HTTP and assistants."""

"""Pages of the reference that are made from the code, and the test that they are current."""

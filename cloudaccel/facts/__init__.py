"""Tables with source, date and grade, one loader; names of accelerators and places."""

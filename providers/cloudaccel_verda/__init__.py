"""Verda (DataCrunch before): its instance types. Machines are not started there."""

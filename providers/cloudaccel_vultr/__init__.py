"""Vultr: its plans with accelerators. Machines are not started there."""

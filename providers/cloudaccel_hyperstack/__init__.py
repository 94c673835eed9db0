"""Hyperstack: its flavors with accelerators and its pricebook. Machines are not started there."""

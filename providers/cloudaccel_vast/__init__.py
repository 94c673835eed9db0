"""Vast.ai: what hosts ask for their machines on its market. Machines are not started there."""

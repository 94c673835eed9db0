"""Nebius: what its billing calculator says of every shape with accelerators. Machines are not started there."""

"""DigitalOcean: its sizes with accelerators. Machines are not started there."""

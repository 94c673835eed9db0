"""Oracle Cloud Infrastructure: its public price list. Machines are not started there."""

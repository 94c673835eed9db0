"""What an accelerator costs, where it may run, and which way of getting it is cheapest."""

__version__ = "0.0.1"

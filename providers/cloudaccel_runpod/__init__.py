"""Runpod: prices of one accelerator, secure and community. Machines are not started there."""

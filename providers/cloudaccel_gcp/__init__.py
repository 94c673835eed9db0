"""Google Cloud: so far the table of GPUs that are attached to a host, from which whole machines are priced."""

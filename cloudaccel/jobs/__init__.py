"""Work that comes round again: when it is due, that only one process does it, and how it stops."""

from cloudaccel.jobs.schedule import Schedule, parse_schedule, run_forever

__all__ = ["Schedule", "parse_schedule", "run_forever"]

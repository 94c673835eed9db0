"""From a workload to accelerators: memory, hours, serving rates, parallel shape and launch configuration."""

from cloudaccel.facts.models import models, resolve_model
from cloudaccel.workloads.portability import supports
from cloudaccel.workloads.sizing import size

__all__ = ["models", "resolve_model", "size", "supports"]

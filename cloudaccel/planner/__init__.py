"""Requirement → candidates → verdict → cost → rank → explain → lock."""

from cloudaccel.planner.plan import make_plan
from cloudaccel.planner.request import Request

__all__ = ["Request", "make_plan"]

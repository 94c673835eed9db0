"""Requirement → candidates → verdict → cost → rank → explain → lock."""

from cloudaccel.planner.plan import Request, make_plan

__all__ = ["Request", "make_plan"]

"""From a list price to what is paid: hours, terms, disks and transfers, each a line that can be redone by hand."""

from cloudaccel.cost.lines import DEFAULTS, CostBasis, cost_lines, held_lines, lines_beside, machine_hours, total_of

__all__ = ["DEFAULTS", "CostBasis", "cost_lines", "held_lines", "lines_beside", "machine_hours", "total_of"]

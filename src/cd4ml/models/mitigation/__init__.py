"""Treatments against differences between groups: tried on the folds, shown with their cost, one taken."""

from cd4ml.models.mitigation.frontier import simulate
from cd4ml.models.mitigation.mitigate import mitigate

__all__ = ["mitigate", "simulate"]

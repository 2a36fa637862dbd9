"""What works on this machine or cluster, what does not, and what mends it."""

from cd4ml.steps.doctor.check import Check, Settings
from cd4ml.steps.doctor.run import AREAS, examine, run_checks

__all__ = ["AREAS", "Check", "Settings", "examine", "run_checks"]

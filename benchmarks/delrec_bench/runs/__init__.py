"""Runs: one from a resolved request to its record, and many of them by an executor."""

from delrec_bench.runs.folder import Busy, RunFolder
from delrec_bench.runs.single import Outcome, perform, run

__all__ = ["Busy", "Outcome", "RunFolder", "perform", "run"]

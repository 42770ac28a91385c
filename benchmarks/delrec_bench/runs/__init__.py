"""Runs: one from a resolved request to its record, and many of them by an executor."""

from delrec_bench.runs.single import perform

"""Latency: a method's network on a task's shape, timed by pytest-benchmark beside the no-delay network, as records."""

from delrec_bench.latency.measuring import Outcome, Plan, label, measure
from delrec_bench.latency.subjects import BASELINE, MODES, Subject, opened, planned, subject, to_measure

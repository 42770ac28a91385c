"""Latency: a method's network on a task's shape, timed by pytest-benchmark beside the no-delay network, as records."""

from delrec_bench.latency.measuring import Outcome, Plan, measure
from delrec_bench.latency.subjects import BASELINE, MODES, Subject, resolved, subject, to_measure

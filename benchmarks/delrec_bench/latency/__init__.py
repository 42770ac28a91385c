"""Latency of a method on a task's shape: what is timed (`networks`), by pytest-benchmark, whose JSON becomes records.

measure(Order(...)) -> Outcome      runs the suite benchmarks/latency/bench_methods.py and imports what it wrote
import_json(path) -> [Record]       of any --benchmark-json file of that suite
"""

from delrec_bench.latency.importing import About, Measured, alike, import_json, newest
from delrec_bench.latency.measuring import Order, Outcome, Plan, can_measure, measure
from delrec_bench.latency.networks import BASELINE, MODES, Subject, as_requests, cells, events, resolved, subject

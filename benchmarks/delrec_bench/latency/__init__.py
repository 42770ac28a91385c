"""Latency of every method on every task's shape: what is measured (`networks`), how (`timing`), and its records."""

from delrec_bench.latency.measuring import latency_key, latency_record, measure
from delrec_bench.latency.networks import BASELINE, MODES, Subject, stream, streaming, subject, subjects

__all__ = [
    "BASELINE",
    "MODES",
    "Subject",
    "latency_key",
    "latency_record",
    "measure",
    "stream",
    "streaming",
    "subject",
    "subjects",
]

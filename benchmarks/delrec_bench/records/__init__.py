"""The records of runs: what one is, what makes it valid, and how it is kept. MLflow's view of them is `tracking`."""

from delrec_bench.records.canonical import RESULTS_VERSION, canonical_json, is_number, plain, run_key
from delrec_bench.records.checks import DATA_KINDS, KINDS, LATENCY_RATIOS, SCHEMA
from delrec_bench.records.record import Record, differences, same_record
from delrec_bench.records.store import (
    committed_name,
    finished_record,
    from_dict,
    load_records,
    read_record,
    to_dict,
    write_committed,
    write_record,
)

__all__ = [
    "DATA_KINDS",
    "KINDS",
    "LATENCY_RATIOS",
    "RESULTS_VERSION",
    "SCHEMA",
    "Record",
    "canonical_json",
    "committed_name",
    "differences",
    "finished_record",
    "from_dict",
    "is_number",
    "load_records",
    "plain",
    "read_record",
    "run_key",
    "same_record",
    "to_dict",
    "write_committed",
    "write_record",
]

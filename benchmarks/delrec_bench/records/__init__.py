"""The records of runs: what one is, what makes it valid, and how it is kept. MLflow's view of them is `tracking`."""

from delrec_bench.records.canonical import RESULTS_VERSION, canonical_json, is_number, plain, run_key
from delrec_bench.records.checks import check_targets, contradictions, expected_key, identity, latency_key, verify
from delrec_bench.records.pages import NAME as PAGE_FILE
from delrec_bench.records.pages import find_record, page_text, read_page, write_page
from delrec_bench.records.parts import DATA_KINDS, KINDS, LATENCY_RATIOS
from delrec_bench.records.record import SCHEMA, Failure, Record, contents, differences, json_schema, same_record
from delrec_bench.records.samples import PerSample
from delrec_bench.records.store import (
    FAILURE,
    finished_record,
    from_dict,
    load_records,
    read_failure,
    read_record,
    record_text,
    to_dict,
    write_failure,
    write_record,
)

__all__ = [
    "DATA_KINDS",
    "FAILURE",
    "KINDS",
    "LATENCY_RATIOS",
    "PAGE_FILE",
    "RESULTS_VERSION",
    "SCHEMA",
    "Failure",
    "PerSample",
    "Record",
    "canonical_json",
    "check_targets",
    "contents",
    "contradictions",
    "differences",
    "expected_key",
    "find_record",
    "finished_record",
    "from_dict",
    "identity",
    "is_number",
    "json_schema",
    "latency_key",
    "load_records",
    "page_text",
    "plain",
    "read_failure",
    "read_page",
    "read_record",
    "record_text",
    "run_key",
    "same_record",
    "to_dict",
    "verify",
    "write_failure",
    "write_page",
    "write_record",
]

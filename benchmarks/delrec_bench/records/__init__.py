"""The records of runs: what one is, what makes it valid, how it is kept and published, and all of them as a table."""

from delrec_bench.records.canonical import RESULTS_VERSION, canonical_json, is_number, plain, run_key
from delrec_bench.records.checks import check_targets, expected_key, identity, latency_key, verify
from delrec_bench.records.finding import find_record
from delrec_bench.records.finished import (
    FAILURE,
    finished_record,
    from_dict,
    load_failures,
    load_records,
    read_failure,
    read_folder,
    read_record,
    record_text,
    runs_below,
    to_dict,
    write_failure,
    write_record,
)
from delrec_bench.records.parts import DATA_KINDS, KINDS, LATENCY_RATIOS
from delrec_bench.records.record import (
    SCHEMA,
    Failure,
    Record,
    contents,
    differences,
    experiment,
    json_schema,
    same_record,
)
from delrec_bench.records.results import COLUMNS, published_table, read_table, rows_table, table
from delrec_bench.records.samples import PerSample
from delrec_bench.records.store import Published, publish, read_store

__all__ = [
    "COLUMNS",
    "DATA_KINDS",
    "FAILURE",
    "KINDS",
    "LATENCY_RATIOS",
    "RESULTS_VERSION",
    "SCHEMA",
    "Failure",
    "PerSample",
    "Published",
    "Record",
    "canonical_json",
    "check_targets",
    "contents",
    "differences",
    "expected_key",
    "experiment",
    "find_record",
    "finished_record",
    "from_dict",
    "identity",
    "is_number",
    "json_schema",
    "latency_key",
    "load_failures",
    "load_records",
    "plain",
    "publish",
    "published_table",
    "read_failure",
    "read_folder",
    "read_record",
    "read_store",
    "read_table",
    "record_text",
    "rows_table",
    "run_key",
    "runs_below",
    "same_record",
    "table",
    "to_dict",
    "verify",
    "write_failure",
    "write_record",
]

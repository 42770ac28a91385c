"""The records of runs: what one is, what makes it valid, how it is kept and published, and all of them as a table."""

from delrec_bench.records.canonical import RESULTS_VERSION, canonical_json, is_number, plain, run_key
from delrec_bench.records.checks import check_targets, expected_key, identity, latency_key, verify
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
from delrec_bench.records.parts import DATA_KINDS, LATENCY_RATIOS
from delrec_bench.records.per_sample import PerSample
from delrec_bench.records.record import (
    SCHEMA,
    Failure,
    Record,
    contents,
    differences,
    experiment,
    same_record,
)
from delrec_bench.records.results import COLUMNS, published_table, read_table, rows_table, table
from delrec_bench.records.store import StoreChange, find_record, publish, read_store

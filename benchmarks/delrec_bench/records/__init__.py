"""The records of runs: what one is, what makes it valid, how it is kept and published, and all of them as a table."""

from delrec_bench.records.canonical import RESULTS_VERSION, canonical_json, plain, run_key
from delrec_bench.records.checks import differences, expected_key, identity, in_order, latency_key, same_record, verify
from delrec_bench.records.finished import (
    FAILURE,
    finished_record,
    from_dict,
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
from delrec_bench.records.parts import DATA_KINDS, PerSample
from delrec_bench.records.record import Asked, Failure, Record, experiment
from delrec_bench.records.results import COLUMNS, published_table, read_table, rows_table, table
from delrec_bench.records.store import StoreChange, find_record, publish, read_store

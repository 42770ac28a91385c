"""The records of runs: what one is, what makes it valid, how it is kept and published, and all of them as a table."""

from delrec_bench.records.canonical import RESULTS_VERSION, canonical_json, compact, digest, plain, run_key
from delrec_bench.records.finished import (
    differences,
    expected_key,
    finished_record,
    in_order,
    latency_key,
    read_failure,
    read_folder,
    read_record,
    record_text,
    runs_below,
    unequal,
    write_record,
)
from delrec_bench.records.record import COMPUTED, DATA_KINDS, HOW, Asked, Failure, Record, computed, experiment
from delrec_bench.records.results import COLUMNS, activity, published_table, read_table, rows_table, table
from delrec_bench.records.store import find_record, publish, read_store

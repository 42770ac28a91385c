"""The records of runs: what one is, what makes it valid, how it is kept and published, and all of them as a table."""

from delrec_bench.records.record import (
    COMPUTED,
    DATA_KINDS,
    HOW,
    RESULTS_VERSION,
    Asked,
    Failure,
    Record,
    canonical_json,
    computed,
    differences,
    digest,
    expected_key,
    experiment,
    identity,
    latency_key,
    plain,
    run_key,
    unequal,
    version_of,
)
from delrec_bench.records.results import COLUMNS, published_table, read_table, rows_table, table
from delrec_bench.records.store import (
    FAILURE,
    RECORD,
    find_record,
    finished_record,
    in_order,
    publish,
    read_failure,
    read_folder,
    read_record,
    read_store,
    record_text,
    runs_below,
    write_record,
)

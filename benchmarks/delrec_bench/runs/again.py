"""A record's run made again, in a folder of its own."""

import tempfile
from dataclasses import replace
from pathlib import Path

from delrec_bench.arithmetic import why_not_portable
from delrec_bench.errors import BenchError
from delrec_bench.records import Asked, Record, identity, run_key
from delrec_bench.runs.executors import Place, Planned, do
from delrec_bench.workspace import base_and_folder


def planned_again(record: Record, folder: str | None = None) -> Planned:
    """Return a record's run from its configuration, which holds every setting.

    `folder` is that of the user's own files, which a record does not name.
    """
    if record.kind == "latency":
        raise BenchError(f"{record} is a latency measurement, not a run; repeat it with `bench`")
    if base_and_folder(record.task)[1] and folder is None:
        raise BenchError(f"{record} used your own files ({record.task}); give their folder with --data DIR")
    configuration = record.configuration | ({"arithmetic": "native"} if why_not_portable() else {})
    same = {name: getattr(record, name) for name in Asked.model_fields}
    provenance = {name: value for name, value in record.provenance.items() if name == "searched"}
    key = run_key(configuration, identity(record))
    return Planned(Asked(**same | {"key": key, "configuration": configuration, "provenance": provenance}), folder)


def rerun(record: Record, place: Place, folder: str | None = None) -> Record:
    """Make a record's run again; the finished run of its key is neither read nor touched."""
    plan = planned_again(record, folder)
    with tempfile.TemporaryDirectory(prefix="delrec-bench-rerun-") as runs:
        elsewhere = replace(place.workspace, runs=Path(runs))
        return do(plan, replace(place, workspace=elsewhere)).record(elsewhere)

"""A record's run made again, in a folder of its own."""

import tempfile
from dataclasses import replace
from pathlib import Path

from delrec_bench.config import Request, resolve
from delrec_bench.config.settings import FORECAST
from delrec_bench.errors import BenchError
from delrec_bench.methods.method import find_methods
from delrec_bench.records import Record
from delrec_bench.runs.executors import Place, do
from delrec_bench.tasks.task import TaskTable, find_tasks


def request_of(record: Record, tasks: TaskTable, data: str | None = None) -> Request:
    """The request that a record's configuration amounts to: every setting is given, none is left to a preset.

    `data` is the folder of a user's own files, which a record does not name.
    """
    if record.kind == "latency":
        raise BenchError(f"{record} is a latency measurement, not a run; repeat it with `bench`")
    c = record.configuration
    name = c["task"]["name"]
    if record.data["kind"] == "OFFICIAL" and ":" in record.task and data is None:
        raise BenchError(f"{record} used your own files ({record.task}); give their folder with --data DIR")
    given = {f"task.{k}": v for k, v in c["task"].items() if k != "name"}
    for group in ("training", "network", "seeds", "evaluation"):
        given |= {f"{group}.{k}": v for k, v in c.get(group, {}).items()}
    if c.get("network"):
        given |= {name: c[name] for name in ("dtype", "budget") if name in c}
    if tasks[name].family != "forecast":
        given = {key: value for key, value in given.items() if key not in FORECAST}
    return Request(
        method=record.method,
        task=name,
        repetition=record.repetition,
        profile=record.profile,
        data=data,
        device=c["device"],
        engine="auto" if c["engine"] == "none" else c["engine"],
        threads=c["threads"],
        arithmetic=c["arithmetic"],
        overrides=tuple(sorted(given.items())),
        trial=record.kind == "trial",
        exhibits="test selection" if c["training"].get("selection") == "best-test" else None,
    )


def rerun(record: Record, place: Place, data: str | None = None) -> Record:
    """Make a record's run again; the finished run of its key is neither read nor touched."""
    methods, tasks = find_methods(place.method_dirs), find_tasks(place.task_dirs)
    request = request_of(record, tasks, data)
    digest = resolve(request, methods, tasks, place.workspace).data.digest
    if digest != record.data["digest"]:
        raise BenchError(
            f"{record} used data {record.data['digest'][:12]}, but these are {digest[:12]}; "
            "give the folder of the same files with --data DIR"
        )
    with tempfile.TemporaryDirectory(prefix="delrec-bench-rerun-") as folder:
        elsewhere = replace(place.workspace, runs=Path(folder))
        return do(request, replace(place, workspace=elsewhere)).record(elsewhere)

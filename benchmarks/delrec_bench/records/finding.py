"""The one record that a word names: its file, the beginning of its key, or METHOD/TASK/REPETITION."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from delrec_bench.errors import BenchError
from delrec_bench.records.finished import FAILURE, load_records, read_failure, read_record
from delrec_bench.records.record import Failure, Record, unequal
from delrec_bench.records.store import read_store
from delrec_bench.workspace import Workspace


def find_record(what: str, workspace: Workspace) -> Record:
    """A record; it is looked for among the finished runs, then in the store.

    Raises:
        BenchError: None is meant, or more than one.
    """
    if Path(what).is_file():
        if Path(what).name == FAILURE:
            _refuse_failed([Path(what)], lambda _: True)
        return read_record(Path(what))
    named = what.rsplit("/", 2)
    if len(named) == 3 and named[2].isdecimal():
        method, task, repetition = named[0], named[1], int(named[2])

        def fits(r: Record | Failure) -> bool:
            tasks = (r.task, r.task.partition(":")[0])
            return (r.method, r.repetition) == (method, repetition) and task in tasks
    else:

        def fits(r: Record | Failure) -> bool:
            return bool(what) and r.key.startswith(what)

    unread: list[str] = []  # other runs', which are no reason against this one
    by_name = len(named) == 3
    for records in (load_records(workspace.runs, unread), read_store(workspace.reports)[0]):
        found = {r.key: r for r in records if fits(r) and (r.kind in ("run", "floor") or not by_name)}
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            raise BenchError(f"{len(found)} runs are '{what}'; give one by its key: {_listed(found.values())}")
    _refuse_failed(sorted(workspace.runs.glob(f"*/{FAILURE}")), fits)
    more = f" ({len(unread)} cannot be read: {unread[0]})" if unread else ""
    raise BenchError(f"no run is '{what}'{more}; give METHOD/TASK/REPETITION, the beginning of a key, or a file")


def _listed(records: Iterable[Record]) -> str:
    """Keys of some records, each with a few of the settings in which they differ."""
    first, *others = records
    apart = sorted({name for r in others for name in unequal(first.configuration, r.configuration)})[:3]

    def value(record: Record, name: str) -> object:
        at: object = record.configuration
        for part in name.split("."):
            at = at.get(part) if isinstance(at, dict) else None
        return at

    return "; ".join(
        f"{r.key[:12]} ({', '.join(f'{name} {value(r, name)}' for name in apart)})" for r in [first, *others][:6]
    )


def _refuse_failed(paths: Iterable[Path], fits: Callable[[Failure], bool]) -> None:
    """Say of a run that failed why it did: it has no record."""
    for path in paths:
        try:
            failure = read_failure(path)
        except BenchError:  # what cannot be read is none that was asked for
            continue
        if fits(failure):
            raise BenchError(
                f"the run {failure.key[:12]} failed, so there is no record of it: {failure.error}; traceback: {path}; "
                f"once more: {failure.command}"
            )

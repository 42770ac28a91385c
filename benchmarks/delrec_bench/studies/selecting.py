"""The runs of a study among records: found by their settings, so that no data is needed to draw a page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from delrec_bench.config import Request, settle
from delrec_bench.config.searched import folder_of
from delrec_bench.methods.method import MethodTable
from delrec_bench.records import HOW, Failure, Record, canonical_json
from delrec_bench.tasks.task import TaskTable
from delrec_bench.workspace import base_and_folder


def keys_of(
    requests: Sequence[Request],
    methods: MethodTable,
    tasks: TaskTable,
    records: Iterable[Record],
    failures: Iterable[Failure] = (),
) -> list[str]:
    """The key of the run that each request is answered by; of none that is there the request's command.

    Where a run is there several times, by another engine, device, number of threads or arithmetic, the one that is
    most like the request is taken, and a run before a failure; of one key the first counts.
    """
    known: dict[str, list[Record | Failure]] = {}
    there: list[Record | Failure] = [*records, *failures]
    for one in there:
        if isinstance(one, Failure) or one.kind in ("run", "floor"):
            known.setdefault(_settings(one.configuration), []).append(one)
    keys = []
    for request in requests:
        values = settle(request, methods[request.method], tasks[request.task]).values
        folder = folder_of(request.data)
        found = [one for one in known.get(_settings(values), ()) if base_and_folder(one.task)[1] == folder]
        best = min(found, key=lambda one: (isinstance(one, Failure), _unlike(one.configuration, request)), default=None)
        keys.append(request.command() if best is None else best.key)
    return keys


def _settings(configuration: Mapping[str, Any]) -> str:
    """What a run and its request have in common: neither how it was computed, nor the widths that a budget gave."""
    kept = {name: value for name, value in configuration.items() if name not in HOW}
    if kept.get("budget"):
        kept["network"] = {name: value for name, value in kept["network"].items() if name != "hidden"}
    return canonical_json(kept)


def _unlike(configuration: Mapping[str, Any], request: Request) -> tuple[int, str]:
    how = {name: configuration.get(name) for name in HOW}
    asked = ("device", "arithmetic", "threads", "engine")
    return sum(how[name] not in (getattr(request, name), None) for name in asked), canonical_json(how)

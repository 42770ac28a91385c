"""Which runs belong to which study.

A record is the same whoever asked for it, so this stands beside the records: `runs/.studies/<study>.json` lists keys.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from delrec_bench.errors import BenchError
from delrec_bench.records.record import faults
from delrec_bench.workspace import Workspace, locked, write_atomic

STUDIES = ".studies"  # below runs/


def memberships(workspace: Workspace) -> dict[str, frozenset[str]]:
    """The keys of every study that asked for a run, by its name."""
    return {path.stem: frozenset(_keys(path)) for path in sorted((workspace.runs / STUDIES).glob("*.json"))}


def study_of(workspace: Workspace, first: str | None = None) -> dict[str, str]:
    """Key of a run -> the study that asked for it: `first`, else the first by name."""
    known = memberships(workspace)
    found: dict[str, str] = {}
    for name in sorted(known, key=lambda name: (name != first, name)):
        found = dict.fromkeys(known[name], name) | found
    return found


def remember_members(workspace: Workspace, study: str, keys: Iterable[str]) -> None:
    """Note that runs belong to a study; several processes may do so at once."""
    path = workspace.runs / STUDIES / f"{study}.json"
    with locked(path):
        known = set(_keys(path))
        _write(path, sorted(known | set(keys)), sorted(known))


def merge_memberships(workspace: Workspace, other: Workspace) -> None:
    """Take over which runs belong to which study in another folder of runs."""
    for path in sorted((other.runs / STUDIES).glob("*.json")):
        members = workspace.runs / STUDIES / path.name
        with locked(members):
            keys = _keys(members)
            _write(members, sorted({*keys, *_keys(path)}), keys)


_KEYS = TypeAdapter(list[str])


def _keys(path: Path) -> list[str]:
    if not path.exists():
        return []
    try:
        return _KEYS.validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise BenchError(
            f"{path} is damaged ({faults(error)}): delete it and run `reproduce` again, which finds the finished runs"
        ) from error


def _write(path: Path, content: Any, before: Any) -> None:
    if content != before:
        write_atomic(path, json.dumps(content, indent=1, sort_keys=True) + "\n")

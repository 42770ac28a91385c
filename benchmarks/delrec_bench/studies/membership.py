"""Which runs belong to which study, and which search chose their settings.

A record is the same whoever asked for it, so this stands beside the records: `runs/.studies/<study>.json` lists keys,
`runs/.searches/<study>.json` the searches, each with the keys of the runs that came of it.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from delrec_bench.errors import BenchError
from delrec_bench.records.record import faults
from delrec_bench.workspace import Workspace, locked, write_atomic

STUDIES, SEARCHES = ".studies", ".searches"  # below runs/


@dataclass(frozen=True)
class Membership:
    """What one study asked for.

    Attributes:
        keys: Its runs and trials.
        search: Key of a run -> what it tells.
    """

    keys: frozenset[str] = frozenset()
    search: Mapping[str, Any] = field(default_factory=dict)


def memberships(workspace: Workspace) -> dict[str, Membership]:
    """Every study that asked for a run, by name."""
    out = {}
    for path in sorted((workspace.runs / STUDIES).glob("*.json")):
        searches = _searches(workspace.runs / SEARCHES / path.name)
        search = {key: entry["search"] for entry in searches.values() for key in entry["runs"]}
        out[path.stem] = Membership(frozenset(_keys(path)), search)
    return out


def study_of(workspace: Workspace, first: str | None = None) -> dict[str, str]:
    """Key of a run -> the study that asked for it: `first`, else the first by name."""
    known = memberships(workspace)
    found: dict[str, str] = {}
    for name in sorted(known, key=lambda name: (name != first, name)):
        found = dict.fromkeys(known[name].keys, name) | found
    return found


def remember_members(workspace: Workspace, study: str, keys: Iterable[str]) -> None:
    """Note that runs belong to a study; several processes may do so at once."""
    path = workspace.runs / STUDIES / f"{study}.json"
    with locked(path):
        known = set(_keys(path))
        _write(path, sorted(known | set(keys)), sorted(known))


def remember_search(
    workspace: Workspace, study: str, name: str, search: Mapping[str, Any], runs: Collection[str]
) -> None:
    """Note which runs came of a search; runs of an earlier search of that name with another choice leave the study.

    Args:
        workspace: Its `runs` is written.
        study: The study's name.
        name: What was searched for: profile, task and method.
        search: what it tells.
        runs: Keys of the final runs.
    """
    path = workspace.runs / SEARCHES / f"{study}.json"
    members = workspace.runs / STUDIES / f"{study}.json"
    with locked(members):
        known = _searches(path)
        before = known.get(name, {"runs": [], "search": {}})
        kept = before["runs"] if before["search"].get("key") == search["key"] else []
        entry = {"search": dict(search), "runs": sorted({*kept, *runs})}
        _write(path, known | {name: entry}, known)
        keys = set(_keys(members))
        _write(members, sorted((keys - set(before["runs"])) | set(entry["runs"])), sorted(keys))


def search_values(workspace: Workspace, study: str) -> dict[str, Mapping[str, Any]]:
    """The values that each search of a study chose, by the name it was remembered under."""
    found = _searches(workspace.runs / SEARCHES / f"{study}.json")
    return {name: entry["search"]["values"] for name, entry in found.items()}


def merge_memberships(workspace: Workspace, other: Workspace) -> None:
    """Take over which runs belong to which study and search in another folder of runs; of one search ours stays."""
    for path in sorted((other.runs / STUDIES).glob("*.json")):
        members = workspace.runs / STUDIES / path.name
        with locked(members):
            keys = _keys(members)
            _write(members, sorted({*keys, *_keys(path)}), keys)
            searches = workspace.runs / SEARCHES / path.name
            own = _searches(searches)
            _write(searches, _searches(other.runs / SEARCHES / path.name) | own, own)


class _Entry(TypedDict):
    search: dict[str, Any]
    runs: list[str]


_KEYS, _SEARCHES = TypeAdapter(list[str]), TypeAdapter(dict[str, _Entry])


def _keys(path: Path) -> list[str]:
    return cast(list[str], _read(path, _KEYS, []))


def _searches(path: Path) -> dict[str, Any]:
    return cast(dict[str, Any], _read(path, _SEARCHES, {}))


def _read(path: Path, form: TypeAdapter[Any], otherwise: Any) -> Any:
    if not path.exists():
        return otherwise
    try:
        return form.validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise BenchError(
            f"{path} is damaged ({faults(error)}): delete it and run `reproduce` again, which finds the finished runs"
        ) from error


def _write(path: Path, content: Any, before: Any) -> None:
    if content != before:
        write_atomic(path, json.dumps(content, indent=1, sort_keys=True) + "\n")

"""Which runs belong to which study, and which search chose their settings.

A record is the same whoever asked for it, so this stands beside the records: `runs/.studies/<study>.json` lists keys,
`runs/.searches/<study>.json` the searches, each with the keys of the runs that came of it.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from delrec_bench.records import Record
from delrec_bench.workspace import Workspace, write_atomic

STUDIES, SEARCHES = ".studies", ".searches"  # below runs/


@dataclass(frozen=True)
class Membership:
    """What one study asked for.

    Attributes:
        keys: Its runs and trials.
        search: Key of a run -> `Record.search`.
    """

    keys: frozenset[str] = frozenset()
    search: Mapping[str, Any] = field(default_factory=dict)


def memberships(workspace: Workspace) -> dict[str, Membership]:
    """Every study that asked for a run, by name."""
    out = {}
    for path in sorted((workspace.runs / STUDIES).glob("*.json")):
        searches = _read(workspace.runs / SEARCHES / path.name, {})
        search = {key: entry["search"] for entry in searches.values() for key in entry["runs"]}
        out[path.stem] = Membership(frozenset(_read(path, [])), search)
    return out


def assigned(records: Iterable[Record], workspace: Workspace, pages: Collection[str]) -> list[Record]:
    """Records with their study and search; where two studies share a run, one without a page of its own has it."""
    known = memberships(workspace)
    study: dict[str, str] = {}
    for name in sorted(known, key=lambda name: (name not in pages, name)):
        study |= dict.fromkeys(known[name].keys, name)
    out = []
    for record in records:
        asked = study.get(record.key)
        search = None if asked is None else known[asked].search.get(record.key)
        out.append(replace(record, study=asked, search=search))
    return out


def of_page(records: Iterable[Record], workspace: Workspace, page: str | None, pages: Collection[str]) -> list[Record]:
    """The assigned records that belong on a page: the leaderboard's (None), or that of the study `page`."""
    if page is None:
        return [record for record in records if record.study not in pages]
    own = memberships(workspace).get(page, Membership())
    return [
        record if record.kind == "latency" else replace(record, study=page, search=own.search.get(record.key))
        for record in records
        if record.kind == "latency" or record.key in own.keys
    ]


def remember_members(workspace: Workspace, study: str, keys: Iterable[str]) -> None:
    """Note that runs belong to a study."""
    path = workspace.runs / STUDIES / f"{study}.json"
    known = set(_read(path, []))
    _write(path, sorted(known | set(keys)), sorted(known))


def remember_search(
    workspace: Workspace, study: str, name: str, search: Mapping[str, Any], runs: Collection[str]
) -> None:
    """Note which runs came of a search; runs of an earlier search of that name with another choice leave the study.

    Args:
        workspace: Its `runs` is written.
        study: The study's name.
        name: What was searched for: profile, task and method.
        search: `Record.search`.
        runs: Keys of the final runs.
    """
    path = workspace.runs / SEARCHES / f"{study}.json"
    known = _read(path, {})
    before = known.get(name, {"runs": [], "search": {}})
    kept = before["runs"] if before["search"].get("key") == search["key"] else []
    entry = {"search": dict(search), "runs": sorted({*kept, *runs})}
    _write(path, known | {name: entry}, known)
    members = workspace.runs / STUDIES / f"{study}.json"
    keys = set(_read(members, []))
    _write(members, sorted((keys - set(before["runs"])) | set(entry["runs"])), sorted(keys))


def merge_memberships(workspace: Workspace, other: Workspace) -> None:
    """Take over which runs belong to which study and search in another folder of runs; of one search ours stays."""
    for path in sorted((other.runs / STUDIES).glob("*.json")):
        for kind in (STUDIES, SEARCHES):
            own, known = workspace.runs / kind / path.name, _read(other.runs / kind / path.name, None)
            if known is not None:
                before = _read(own, type(known)())
                _write(own, sorted({*before, *known}) if kind == STUDIES else known | before, before)


def _read(path: Path, otherwise: Any) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else otherwise


def _write(path: Path, content: Any, before: Any) -> None:
    if content != before:
        write_atomic(path, json.dumps(content, indent=1, sort_keys=True) + "\n")

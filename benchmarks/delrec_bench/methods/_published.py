"""The published settings of methods, read from `published/*.toml`; each number stands there beside its source.

A file names its `source` and holds a list of `[[preset]]` tables: `methods`; `tasks` (names or families) and
`profiles`, where they are not all; and settings below `task`, `training` and `network`. Of two tables that set the same
for the same task and profile the later one holds. "all" stands for every layer. What a paper and its code leave open
is the profile's.
"""

import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

Presets = dict[tuple[str, str], dict[str, Any]]

FOLDER = Path(__file__).parent / "published"
EQUAL: Presets = {("speech", "equi-parameter"): {"budget": 10_290}}
"""For a method without a published width at DelRec's equi-parameter setting: at most as many parameters as DelRec."""


@cache
def _tables() -> list[dict[str, Any]]:
    files = (tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.toml")))
    return [table for file in files for table in file["preset"]]


def published(method: str) -> Presets:
    """Return the published settings of a method by (task or family, profile); "*" stands for any."""
    found: Presets = {}
    for table in _tables():
        if method in table["methods"]:
            for where in product(table.get("tasks", ["*"]), table.get("profiles", ["*"])):
                found.setdefault(where, {}).update(_settings(table))
    return found


def _settings(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for group in ("task", "training", "network"):
        for name, value in table.get(group, {}).items():
            yield f"{group}.{name}", None if value == "all" else value

"""What `compare` takes: a page of reports/ or out/, a folder or file of records."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError
from delrec_bench.records import PAGE_FILE, load_records, read_page, read_record
from delrec_bench.report.comparison import Side
from delrec_bench.workspace import Workspace


def side_of(text: str, workspace: Workspace) -> Side | None:
    """The records that a word names; None for what names none, such as a method.

    Raises:
        BenchError: They cannot be read.
    """
    path = Path(text)
    if path.is_file():
        records = read_page(path) if path.suffix == ".xz" else [read_record(path)]
        return Side(text, records, *_declared(path.parent) if path.name == PAGE_FILE else ())
    if path.is_dir():
        if (path / PAGE_FILE).is_file():
            return Side(text, read_page(path / PAGE_FILE), *_declared(path))
        below = path / "runs"
        return Side(text, load_records(below if below.is_dir() else path))
    for folder in (workspace.reports / text, workspace.root / "out" / text):
        if text and (folder / PAGE_FILE).is_file():
            return Side(text, read_page(folder / PAGE_FILE), *_declared(folder))
    return None


def _declared(folder: Path) -> tuple[Mapping[str, str], Mapping[str, float]]:
    """The rows of a page's runs and the margins of its tasks, by the page's json; nothing where there is none."""
    path = folder / f"{folder.resolve().name}.json"
    return _said(path.read_text(encoding="utf-8"), str(path)) if path.is_file() else ({}, {})


def _said(text: str, where: str) -> tuple[Mapping[str, str], Mapping[str, float]]:
    try:
        content: Any = json.loads(text)
        rows = {run["key"]: run["method"] for run in content["repetitions"]}
        margins = {v["task"]: v["margin"] for v in content["verdicts"] if v["task"] != "pooled" and v["margin"]}
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{where} is no page's json ({error}): make the page again") from error
    return rows, margins

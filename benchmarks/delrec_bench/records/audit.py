"""What no longer matches behind published pages: walked back from a page's table to records, data and code."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from delrec_bench.errors import BenchError
from delrec_bench.records.canonical import RESULTS_VERSION, canonical_json
from delrec_bench.records.pages import NAME, read_page
from delrec_bench.records.record import Record, differences
from delrec_bench.records.store import finished_record

LARGEST_TABLE = 64 << 20


@dataclass(frozen=True)
class Finding:
    """Something that does not match.

    Attributes:
        page: The page's folder, or the submission.
        what: archive, network, page, table, record, data, code or run.
        text: What it is, in one line.
    """

    page: str
    what: str
    text: str


@dataclass(frozen=True)
class Against:
    """What pages are held against.

    Attributes:
        files: Digest of each data file by ``<task>/<name>``, as the checkout lists them; others are not judged.
        is_commit: Whether a revision is in the history of the code.
        runs: Folder of finished runs; one that has a page's key must hold the same record.
    """

    files: Mapping[str, str]
    is_commit: Callable[[str], bool]
    runs: Path


def pages_below(reports: Path) -> list[Path]:
    """The records files of all published pages."""
    return sorted(Path(reports).rglob(NAME))


def audit(reports: Path, against: Against) -> list[Finding]:
    """Every page below `reports`, walked back; empty where all matches.

    A record whose score does not follow from its predictions, whose key does not follow from its configuration and
    data, or that was altered in any other way is found by reading it.
    """
    return [finding for path in pages_below(reports) for finding in _page(path, against)]


def _page(path: Path, against: Against) -> Iterator[Finding]:
    page = path.parent.name
    broken: list[str] = []
    try:
        records = read_page(path, broken)
    except BenchError as error:
        yield Finding(page, "record", str(error))
        return
    yield from (Finding(page, "record", text) for text in broken)
    yield from audit_records(records, against, page)
    for table in sorted(path.parent.glob("*.csv")):
        yield from (Finding(page, "table", f"{table.name}: {text}") for text in _table(table, records))


def audit_records(records: Iterable[Record], against: Against, page: str) -> Iterator[Finding]:
    """What no longer matches behind records that could be read; `page` names where they stand."""
    for record in records:
        for what, text in _record(record, against):
            yield Finding(page, what, f"{record}: {text}")


def _record(record: Record, against: Against) -> Iterator[tuple[str, str]]:
    version = record.provenance.get("results_version")
    if version != RESULTS_VERSION:
        yield "code", f"made under results version {version}, the code has {RESULTS_VERSION}"
    revision = str(record.provenance.get("revision", "unknown"))
    if not against.is_commit(revision):
        yield "code", f"its code revision {revision[:12]} is not in the history"
    if record.provenance.get("dirty", True):
        yield "code", f"made from revision {revision[:12]} with changes that were not committed"
    for name, digest in record.data.get("files", {}).items():
        listed = against.files.get(f"{record.task}/{name}")  # of a user's own files, `<task>:<folder>`, there are none
        if listed is not None and listed != digest:
            yield "data", f"made on {name} with digest {digest[:12]}, the checkout lists {listed[:12]}"
    try:
        own = finished_record(against.runs, record.key)
    except BenchError as error:
        yield "run", str(error)
        return
    if own is not None:
        aside = ("study", "search", "provenance")
        other = [name for name in differences(record, own) if not name.startswith(aside)]
        if other:
            yield "run", f"the finished run of its key differs in {', '.join(other[:5])}"


def _table(path: Path, records: Sequence[Record]) -> Iterator[str]:
    """Rows of a page's table whose n or mean score does not follow from the page's records."""
    try:
        text = path.read_bytes()[:LARGEST_TABLE].decode("utf-8")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        yield f"cannot be read ({error})"
        return
    for row in rows:
        if not row.get("method") or not row.get("score_mean"):
            continue
        who = row.get("task"), row["method"]
        groups = _scores(records, *who)
        if not groups:
            yield f"{who[1]} on {who[0]} has no record behind it"
            continue
        try:
            shown, count = float(row["score_mean"]), int(row.get("n") or 0)
        except ValueError:
            yield f"{who[1]} on {who[0]}: score_mean {row['score_mean']!r} or n {row.get('n')!r} is no number"
            continue
        counted = [scores for scores in groups if len(scores) == count]
        means = [sum(scores) / len(scores) for scores in counted]
        if not counted:
            there = " or ".join(str(n) for n in sorted({len(scores) for scores in groups}))
            yield f"{who[1]} on {who[0]}: n is {count}, but {there} records stand behind it"
        elif all(abs(shown - mean) > 1e-6 * max(1.0, abs(mean)) for mean in means):
            yield f"{who[1]} on {who[0]}: score_mean is {shown!r}, but its records give {' or '.join(map(repr, means))}"


def _scores(records: Sequence[Record], task: str | None, row: str) -> list[list[float]]:
    """Scores that may stand behind a row: its method's, apart by settings where the row is a point of a sweep."""
    method, point, _ = row.partition(" (")
    of = [r for r in records if (r.task, r.method) == (task, method) and r.kind in ("run", "floor")]
    found: dict[str, list[float]] = {}
    for r in of:
        shared = {name: value for name, value in r.configuration.items() if name not in ("seeds", "repetition")}
        found.setdefault(canonical_json(shared) if point else "", []).append(r.score)
    return list(found.values())

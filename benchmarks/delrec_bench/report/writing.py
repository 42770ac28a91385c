"""Writes the report's files: the page, the tables, the figure, and README's block."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from delrec_bench.records import PAGE_FILE, Record, write_page
from delrec_bench.report import figures, tables
from delrec_bench.report import readme as readme_file
from delrec_bench.report.findings import find
from delrec_bench.report.page import to_html
from delrec_bench.report.rows import Row, merge
from delrec_bench.workspace import Workspace, write_atomic


def rows_of(records: Sequence[Record], profile: str | None = None) -> tuple[Row, ...]:
    """The leaderboard's rows of these records, as `compare` takes them."""
    return find(records, profile).rows


def write_report(
    workspace: Workspace,
    records: Sequence[Record],
    committed: Sequence[Record] = (),
    *,
    profile: str | None = None,
    page: str | None = None,
    title: str | None = None,
    generated: str | None = None,
) -> list[Path]:
    """Writes leaderboard.{html,md,csv,json}, the figure, and the block in the root's README.md (where it has one).

    Everything but `generated` is a function of the records. Files that would not change are not touched: where the
    content is as it was, the time it was generated stays as well.

    Args:
        workspace: `reports` is written, and README.md in `root`.
        records: this workspace's own records.
        committed: the committed ones; they stand in for a (task, method) without an own record.
        profile: show this profile; None takes the one with the most methods, task by task.
        page: a study with a page of its own, in reports/<page>/, which README.md does not show.
        title: the heading of that page.
        generated: the time to write, ISO 8601; now when None.

    Returns:
        The paths of the report, whether or not they changed.

    Raises:
        BenchError: README.md has one marker but not the other, or records that contradict each other.
    """
    findings = find(merge(records, committed), profile)
    folder = Path(workspace.reports) / (page or "")
    when = generated or _unchanged_since(folder / "leaderboard.json", tables.to_json(findings, ""))
    when = when or datetime.now(UTC).isoformat(timespec="seconds")
    drawn = figures.draw(findings)
    contents = {
        folder / "leaderboard.csv": tables.to_csv(findings),
        folder / "leaderboard.md": tables.to_markdown(findings, title),
        folder / "leaderboard.json": tables.to_json(findings, when),
        folder / "leaderboard.html": to_html(findings, drawn, when, title),
    }
    if drawn.scatter is not None:
        contents[folder / tables.FIGURE] = figures.standalone(drawn.scatter)
    readme = Path(workspace.root) / "README.md"
    if page is None and readme.exists():
        text = readme.read_text(encoding="utf-8")
        if readme_file.START in text or readme_file.END in text:
            contents[readme] = readme_file.with_block(text, readme_file.readme_block(findings))
    for path, content in contents.items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            write_atomic(path, content)
    return list(contents)


def commit_report(
    workspace: Workspace,
    records: Sequence[Record],
    committed: Sequence[Record] = (),
    *,
    profile: str | None = None,
    page: str | None = None,
    title: str | None = None,
) -> list[Path]:
    """Makes the page's file hold exactly the records behind it, and writes the page from those alone.

    What `write_report` would leave out of the page is not committed, so that a checkout without any run of its own
    makes the same files again.

    Returns:
        The paths of the report.
    """
    behind = find(merge(records, committed), profile).records
    write_page(Path(workspace.reports) / (page or "") / PAGE_FILE, behind)
    return write_report(workspace, [], behind, profile=profile, page=page, title=title)


def _unchanged_since(path: Path, content: str) -> str | None:
    """The time in the file, if apart from that time it holds `content` already."""
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        when = str(there["generated"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return when if there | {"generated": ""} == json.loads(content) else None

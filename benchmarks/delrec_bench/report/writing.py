"""A page's files: what `reproduce` leaves in out/<page>/, and what publishing puts into reports/<page>/."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from delrec_bench.errors import BenchError
from delrec_bench.records import Record, read_store
from delrec_bench.records import publish as publish_runs
from delrec_bench.report import pages, tables, words
from delrec_bench.report.board import board_of
from delrec_bench.report.content import Page, build
from delrec_bench.report.declared import Declaration
from delrec_bench.report.figures import draw
from delrec_bench.report.figures.findings import findings
from delrec_bench.report.readme import write_board_part
from delrec_bench.workspace import Workspace, write_atomic

LARGEST = 1_000_000  # bytes of a page's html
_MAY_CHANGE = ("reports", "README.md", "dvc.lock")  # of a clean tree


def write_page(folder: Path, page: Page) -> list[Path]:
    """Write <page>.{html,md,csv,json}, figures and metrics.json; unchanged ones stay untouched.

    Everything is a function of the declaration and the records; a figure that the page no longer has goes.

    Args:
        folder: out/<page>/ or reports/<page>/.
        page: What it says.

    Returns:
        The paths.

    Raises:
        BenchError: The html would be larger than 1 MB.
    """
    name, drawn = page.declared.page, draw(page)
    board = board_of(page) if page.declared.board else None
    contents = {
        f"{name}.html": pages.to_html(page, drawn, board),
        f"{name}.md": pages.to_markdown(page, drawn, board),
        f"{name}.csv": tables.to_csv(page),
        f"{name}.json": pages.to_json(page, drawn),
        "metrics.json": pages.to_metrics(page),
        **{f"{figure.name}.svg": figure.svg for figure in drawn},
    }
    size = len(contents[f"{name}.html"].encode())
    if size > LARGEST:
        raise BenchError(f"{name}.html would be {size:,} bytes, of at most {LARGEST:,}: split the study into pages")
    paths = [folder / file for file in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            write_atomic(path, content)
    for stale in set(folder.glob("*.svg")) - set(paths):
        stale.unlink()
    return paths


def out_folder(workspace: Workspace, declared: Declaration) -> Path:
    """Where `reproduce` writes, ignored by git."""
    return workspace.root / "out" / declared.page


def publish(
    workspace: Workspace,
    declared: Declaration,
    records: Sequence[Record],
    *,
    source: str = "records",
    allow_mixed: bool = False,
) -> list[Path]:
    """Put the page's runs into the store, then write reports/<page>/ from it: the only way into either.

    Args:
        workspace: A checkout without uncommitted changes (dvc.lock, README and reports/ apart).
        declared: The page's declaration.
        records: Any records; those of the page's expansion are taken.
        source: Where they were read.
        allow_mixed: Publish records of several revisions; the page says so.

    Returns:
        The paths that changed in the store, and those of the page.

    Raises:
        BenchError: The tree has changes, a row mixes settings, or revisions are mixed; nothing is
            written then.
    """
    page = build(declared, records, source)
    refuse(workspace, page, allow_mixed=allow_mixed)
    done = publish_runs(workspace.reports, page.records, declared.diverged)
    page = build(declared, read_store(workspace.reports)[0], "published")
    paths = [*done.paths, *write_page(workspace.reports / declared.page, page)]
    return [*paths, *_front(workspace, page)] if declared.board else paths


def _front(workspace: Workspace, page: Page) -> list[Path]:
    """What README shows of the board: its rows, and the figure of the findings."""
    paths, readme, figure = [], workspace.root / "README.md", workspace.reports / "findings.svg"
    if readme.is_file() and write_board_part(readme, board_of(page)):
        paths.append(readme)
    if (drawn := findings(page)) is not None:
        write_atomic(figure, drawn.svg)
        paths.append(figure)
    return paths


def refuse(workspace: Workspace, page: Page, *, allow_mixed: bool) -> None:
    """Raise what keeps a page from being published, before anything is written."""
    for refusal in refusals(page, allow_mixed=allow_mixed, changes=changes(workspace.root)):
        raise BenchError(f"page '{page.declared.page}' is not published: {refusal}")


def refusals(page: Page, *, allow_mixed: bool, changes: Sequence[str]) -> list[str]:
    """Why a page may not be published, with the remedy of each; empty where it may."""
    declared, out = page.declared, []
    if changes:
        out.append(f"the tree has uncommitted changes ({words.some(changes)}); commit them")
    if not page.rows:
        out.append(f"no record belongs to it; {declared.again} first")
    if page.mixed:
        out.append(f"settings or data are mixed in {words.some(page.mixed)}; delete the records that do not belong")
    if (len(page.revisions) > 1 or any(name.endswith("+dirty") for name in page.revisions)) and not allow_mixed:
        what = "revisions" if len(page.revisions) > 1 else "code that was not committed, revision"
        out.append(f"its records come from {what} {words.some(page.revisions)}; --allow-mixed prints that on the page")
    return out


def changes(root: Path) -> list[str]:
    """Files of the checkout with uncommitted changes, those apart that publishing and DVC themselves change.

    Raises:
        BenchError: `root` is no git checkout, so that nobody could say which code made the page.
    """
    words = ["git", "-C", str(root), "status", "--porcelain", "--", ".", *(f":(exclude){p}" for p in _MAY_CHANGE)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"'{root}' is no git checkout that can be asked for changes; publish from a clone") from error
    return [line[3:] for line in done.stdout.splitlines()]

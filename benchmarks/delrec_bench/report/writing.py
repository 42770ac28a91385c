"""A page's files: what `reproduce` leaves in out/<page>/, and what publishing puts into reports/<page>/."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from delrec_bench.errors import BenchError
from delrec_bench.records import Record, read_store
from delrec_bench.records import publish as publish_runs
from delrec_bench.report import pages, words
from delrec_bench.report.board import OF_THE_SUITE, README_ROWS, Board, board_of
from delrec_bench.report.content import Page, build
from delrec_bench.report.declared import Declaration
from delrec_bench.report.figures import draw, findings
from delrec_bench.report.tables import to_csv
from delrec_bench.workspace import Workspace, write_atomic

START, END = "<!-- board:start -->", "<!-- board:end -->"
LARGEST = 1_000_000  # bytes of a page's html
_MAY_CHANGE = ("reports", "README.md", "dvc.lock")  # of a clean tree


def write_page(above: Path, page: Page) -> list[Path]:
    """Write <page>/<page>.{html,md,csv,json}, its figures and metrics.json, and return the paths.

    Everything is a function of the declaration and the records. Unchanged files stay untouched, and a figure that the
    page no longer has goes.

    Args:
        above: out/ or reports/.
        page: What it says.

    Raises:
        BenchError: The html would be larger than 1 MB.
    """
    name, drawn = page.declared.page, draw(page)
    board = board_of(page) if page.declared.board else None
    contents = {
        f"{name}.html": pages.to_html(page, drawn, board),
        f"{name}.md": pages.to_markdown(page, drawn, board),
        f"{name}.csv": to_csv(page),
        f"{name}.json": pages.to_json(page, drawn),
        "metrics.json": pages.to_metrics(page),
        **{f"{figure.name}.svg": figure.svg for figure in drawn},
    }
    size = len(contents[f"{name}.html"].encode())
    if size > LARGEST:
        raise BenchError(f"{name}.html would be {size:,} bytes, more than {LARGEST:,}; split the study")
    paths = [above / name / file for file in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            write_atomic(path, content)
    for stale in set((above / name).glob("*.svg")) - set(paths):
        stale.unlink()
    return paths


def publish(
    workspace: Workspace,
    declared: Declaration,
    records: Sequence[Record],
    *,
    source: str = "records",
    allow_mixed: bool = False,
) -> list[Path]:
    """Put the page's runs into the store, then write reports/<page>/ from it: the only way into either.

    Of the board, README shows the first rows and the figure of the findings.

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
    if why := refusal(page, allow_mixed=allow_mixed, changes=changes(workspace.root)):
        raise BenchError(f"report '{declared.page}' cannot be published: {why}")
    done = publish_runs(workspace.reports, page.records, declared.diverged)
    page = build(declared, read_store(workspace.reports)[0], "published")
    paths = [*done.paths, *write_page(workspace.reports, page)]
    if declared.board:
        readme, figure = workspace.root / "README.md", workspace.reports / "findings.svg"
        if readme.is_file() and write_board_part(readme, board_of(page)):
            paths.append(readme)
        if (drawn := findings(page)) is not None:
            write_atomic(figure, drawn.svg)
            paths.append(figure)
    return paths


def board_part(board: Board) -> str:
    """The rows, and whose data each column is of."""
    own = [data.title for data in board.scored if data.brief.startswith(OF_THE_SUITE)]
    data = [f"{one.title}: {one.brief}." for one in board.scored if one.title not in own]
    data += [f"{words.listed(own)}: {OF_THE_SUITE}."] if own else []
    return f"{board.short(README_ROWS).markdown()}\n{' '.join(data)}\n"


def write_board_part(readme: Path, board: Board) -> bool:
    """Put the board's part between the markers of README; whether that changed it.

    Raises:
        BenchError: A marker is missing.
    """
    text = readme.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise BenchError(f"{readme} has no {START} followed by {END}; the leaderboard's rows go between them")
    made = f"{before}{START}\n\n{board_part(board)}\n{END}{after}"
    if made != text:
        write_atomic(readme, made)
    return made != text


def refusal(page: Page, *, allow_mixed: bool, changes: Sequence[str]) -> str | None:
    """Why a page may not be published, with the remedy; None where it may."""
    declared = page.declared
    if changes:
        return f"the tree has uncommitted changes ({words.some(changes)}); commit them"
    if not page.rows:
        return f"it has no runs; run {declared.again} first"
    if page.mixed:
        return f"settings or data are mixed in {words.some(page.mixed)}; delete the runs that do not belong"
    if (len(page.revisions) > 1 or any(name.endswith("+dirty") for name in page.revisions)) and not allow_mixed:
        what = "revisions" if len(page.revisions) > 1 else "uncommitted code, revision"
        return f"its records come from {what} {words.some(page.revisions)}; use --allow-mixed to publish with a note"
    return None


def changes(root: Path) -> list[str]:
    """Files of the checkout with uncommitted changes, those apart that publishing and DVC themselves change.

    Raises:
        BenchError: `root` is no git checkout, so that the code that made the page is not known.
    """
    asked = ["git", "-C", str(root), "status", "--porcelain", "--", ".", *(f":(exclude){p}" for p in _MAY_CHANGE)]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"'{root}' is not a git repository; publish from a clone") from error
    return [line[3:] for line in done.stdout.splitlines()]

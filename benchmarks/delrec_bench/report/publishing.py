"""Publishing: a page's runs go into the store, and reports/ and README show what the store gives."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from delrec_bench.environment import changes
from delrec_bench.errors import BenchError
from delrec_bench.methods.method import MethodTable
from delrec_bench.records import Record, read_store
from delrec_bench.records import publish as publish_runs
from delrec_bench.report import tables, words
from delrec_bench.report.board import README_ROWS, Board, board_of
from delrec_bench.report.content import Page, build
from delrec_bench.report.declared import BOARD, Declaration, page_of
from delrec_bench.report.figures import SWEEPS, findings
from delrec_bench.report.texts import environment
from delrec_bench.report.writing import to_json, write_page
from delrec_bench.studies.expansion import Wanted, expand
from delrec_bench.tasks.task import TaskTable
from delrec_bench.workspace import Workspace, base_and_folder, write_atomic

START, END = "<!-- board:start -->", "<!-- board:end -->"


def publish(
    workspace: Workspace, declared: Declaration, records: Sequence[Record], *, allow_mixed: bool = False
) -> list[Path]:
    """Put the page's runs into the store, then write reports/<page>/ from it: the only way into either.

    Records of several revisions need `allow_mixed`; the page says so. Returns the paths of what changed in the store,
    and of the page. Other pages may show these runs too: `redraw` them.

    Raises:
        BenchError: The tree has changes, a row mixes data, or revisions are mixed; nothing is written then.
    """
    if not (workspace.root / ".git").exists():
        raise BenchError(f"'{workspace.root}' is not a git repository; publish from a clone")
    page = build(declared, records)
    if why := refusal(page, allow_mixed=allow_mixed, changed=changes(workspace.root)):
        raise BenchError(f"report '{declared.study.page}' cannot be published: {why}")
    diverged = [f for f in declared.diverged if f.key != f.command]  # not those that would be derived from one
    changed_in_store = publish_runs(workspace.reports, page.records, diverged)
    page = build(declared, read_store(workspace.reports)[0])
    return [*changed_in_store, *write_page(workspace.reports, page)]


def redraw(workspace: Workspace, methods: MethodTable, tasks: TaskTable) -> list[Path]:
    """Write again each published page that is not what the store gives today, such as one that shares new runs.

    Of the board, README shows the first rows and the figure of the findings. Returns the paths.
    """
    paths: list[Path] = []
    for path, page in published_pages(workspace.reports, methods, tasks):
        if not is_current(page, path):
            paths += write_page(workspace.reports, page)
        if page.declared.board:
            readme, figure = workspace.root / "README.md", workspace.reports / "findings.svg"
            write_board_part(readme, board_of(page))
            sweeps = [path for name in SWEEPS if (path := workspace.reports / name / f"{name}.json").exists()]
            if (drawn := findings(page, [json.loads(path.read_bytes()) for path in sweeps])) is not None:
                write_atomic(figure, drawn)
                paths.append(figure)
            paths.append(readme)
    return paths


def published_pages(reports: Path, methods: MethodTable, tasks: TaskTable) -> Iterator[tuple[Path, Page]]:
    """The JSON files of the published pages, and each page as the store gives it today; the board last."""
    records, failures = read_store(reports)
    for path in sorted(reports.glob("*/*.json"), key=lambda path: (path.stem == BOARD, path)):
        if path.stem != path.parent.name:
            continue
        page = json.loads(path.read_text(encoding="utf-8"))
        own = sorted({base_and_folder(row["task"]) for row in page["rows"] if ":" in row["task"]})
        board = page["study"] == BOARD
        profile, data = (None, ()) if board else (page["profile"], own)  # the board is of all profiles and data
        study = expand(page["study"], profile, methods, tasks, Wanted(data=dict(data)))
        yield path, build(page_of(study, methods, tasks, records, failures), records)


def is_current(page: Page, path: Path) -> bool:
    """Whether a page equals its JSON file, but for the last digits, which other processors may add up otherwise."""

    def rounded(text: str) -> object:
        return json.loads(text, parse_float=lambda number: f"{float(number):.9f}")

    return rounded(to_json(page)) == rounded(path.read_text(encoding="utf-8"))


def refusal(page: Page, *, allow_mixed: bool, changed: Sequence[str]) -> str | None:
    """Why a page may not be published, with the remedy; None where it may."""
    if changed:
        return f"the tree has uncommitted changes (such as {changed[0]}); commit them"
    if not page.rows:
        return f"it has no runs; run {' or '.join(page.declared.again)} first"
    if page.mixed:
        rows = words.listed(page.mixed)
        return f"data, engines or results versions are mixed in {rows}; delete the wrong runs or repeat the others"
    if (len(page.revisions) > 1 or any(name.endswith("+dirty") for name in page.revisions)) and not allow_mixed:
        what = "revisions" if len(page.revisions) > 1 else "uncommitted code, revision"
        return f"its records come from {what} {words.listed(page.revisions)}; use --allow-mixed to publish with a note"
    return None


def board_part(board: Board) -> str:
    """README's rows of the board, and whose data each column is of."""
    template = environment().get_template("readme.md.j2")
    return template.render(board=board, methods=README_ROWS, tables=tables).rstrip() + "\n"


def write_board_part(readme: Path, board: Board) -> None:
    """Put the board's part between the markers of README."""
    text = readme.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise BenchError(f"{readme} has no {START} followed by {END}; the leaderboard's rows go between them")
    write_atomic(readme, f"{before}{START}\n\n{board_part(board)}\n{END}{after}")

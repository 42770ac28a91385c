"""A page's files: what `reproduce` leaves in out/<page>/, and what publishing puts into reports/<page>/."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from delrec_bench.environment import changes
from delrec_bench.errors import BenchError
from delrec_bench.records import Record, read_store
from delrec_bench.records import publish as publish_runs
from delrec_bench.report import tables, words
from delrec_bench.report.board import README_ROWS, Board, board_of
from delrec_bench.report.content import Page, build
from delrec_bench.report.declared import Declaration
from delrec_bench.report.drawing import Drawn
from delrec_bench.report.figures import COLOURS, SWEEPS, draw, findings
from delrec_bench.report.texts import environment
from delrec_bench.statistics.paired import Estimate
from delrec_bench.workspace import Workspace, write_atomic

SCHEMA = 6
START, END = "<!-- board:start -->", "<!-- board:end -->"


def write_page(above: Path, page: Page) -> list[Path]:
    """Write <page>/<page>.{html,md,csv,json}, its figures and metrics.json below out/ or reports/; return the paths.

    Everything is a function of the declaration and the records. A figure that the page no longer has goes.
    """
    name, drawn = page.declared.study.page, draw(page)
    contents = {
        f"{name}.html": filled("html", page, drawn),
        f"{name}.md": filled("md", page, drawn),
        f"{name}.csv": tables.to_csv(page),
        f"{name}.json": to_json(page),
        "metrics.json": to_metrics(page),
        **{f"{figure.name}.svg": figure.svg for figure in drawn},
    }
    paths = [above / name / file for file in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        write_atomic(path, content)
    for stale in set((above / name).glob("*.svg")) - set(paths):
        stale.unlink()
    return paths


def filled(form: str, page: Page, drawn: Sequence[Drawn] = ()) -> str:
    """<page>.html, one self-contained file, or <page>.md, which says the same."""
    board = board_of(page) if page.declared.board else None
    template = environment().get_template(f"{'page' if board is None else 'board'}.{form}.j2")
    return template.render(page=page, drawn=drawn, board=board, tables=tables, colours=COLOURS).rstrip() + "\n"


def to_json(page: Page) -> str:
    """<page>.json: {schema, page, question, study, profile, complete, answer, finding, verdicts, rows, ...}.

    Differences of fewer than five repetitions are no verdicts, and a page of such has no answer.
    """
    declared = page.declared
    content = {
        "schema": SCHEMA,
        "page": declared.study.page,
        "question": declared.title,
        "study": declared.study.name,
        "profile": declared.study.profile,
        "complete": page.complete,
        "revisions": page.revisions,
        "answer": page.outcome,
        "finding": page.finding,
        "verdicts": [
            {"hypothesis": d.hypothesis, "task": d.method["task"]}
            | asdict(d.verdict)
            | {"kind": "primary" if d.primary else "exploratory", "about": d.about}
            | {"over_repetitions": _ends(d.over_repetitions), "over_samples": _ends(d.over_samples)}
            for d in page.differences
            if d.verdict.compared
        ],
        "rows": [
            {"kind": row.kind, "title": row.title, "point": dict(row.asked.point), "scores": row.scores, **row.values}
            | {"keys": [record.key for record in row.records]}
            for row in page.rows
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _ends(estimate: Estimate | None) -> list[float | None] | None:
    return None if estimate is None else [estimate.low, estimate.high]


def to_metrics(page: Page) -> str:
    """metrics.json: numbers by task and method, as `dvc metrics` shows them."""
    numbers: dict[str, dict[str, dict[str, float]]] = {}
    for row in page.rows:
        for name in ("score_mean", "score_sd", "parameters_total", "latency_train_ms"):
            if row[name] is not None:
                numbers.setdefault(row["task"], {}).setdefault(row["method"], {})[name] = round(row[name], 6)
    return json.dumps(numbers, indent=1, sort_keys=True) + "\n"


def publish(
    workspace: Workspace, declared: Declaration, records: Sequence[Record], *, allow_mixed: bool = False
) -> list[Path]:
    """Put the page's runs into the store, then write reports/<page>/ from it: the only way into either.

    Of the board, README shows the first rows and the figure of the findings. Records of several revisions need
    `allow_mixed`; the page says so. Returns the paths of what changed in the store, and of the page.

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
    paths = [*changed_in_store, *write_page(workspace.reports, page)]
    if declared.board:
        readme, figure = workspace.root / "README.md", workspace.reports / "findings.svg"
        write_board_part(readme, board_of(page))
        sweeps = [path for name in SWEEPS if (path := workspace.reports / name / f"{name}.json").exists()]
        if (drawn := findings(page, [json.loads(path.read_bytes()) for path in sweeps])) is not None:
            write_atomic(figure, drawn)
            paths.append(figure)
        paths.append(readme)
    return paths


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

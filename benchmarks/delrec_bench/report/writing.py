"""A page's files, in out/<page>/ or, once published, in reports/<page>/."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from delrec_bench.report import tables
from delrec_bench.report.board import board_of
from delrec_bench.report.content import Page
from delrec_bench.report.drawing import Drawn
from delrec_bench.report.figures import COLOURS, draw
from delrec_bench.report.texts import environment
from delrec_bench.statistics.paired import Estimate
from delrec_bench.workspace import write_atomic

SCHEMA = 6


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

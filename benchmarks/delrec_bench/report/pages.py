"""A page as Markdown, HTML and JSON, and as the numbers that `dvc metrics` shows."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from delrec_bench.report import tables
from delrec_bench.report.board import Board
from delrec_bench.report.content import Page
from delrec_bench.report.drawing import Drawn
from delrec_bench.report.figures import COLOURS
from delrec_bench.report.judging import Difference
from delrec_bench.report.rows import Row

SCHEMA = 4


def to_html(page: Page, drawn: Sequence[Drawn], board: Board | None = None) -> str:
    """<page>.html: one self-contained file."""
    return _filled("html", page, drawn, board)


def to_markdown(page: Page, drawn: Sequence[Drawn], board: Board | None = None) -> str:
    """<page>.md: what the HTML shows."""
    return _filled("md", page, drawn, board).rstrip() + "\n"


def _filled(form: str, page: Page, drawn: Sequence[Drawn], board: Board | None) -> str:
    template = _environment().get_template(f"{'page' if board is None else 'board'}.{form}.j2")
    return template.render(page=page, drawn=drawn, board=board, tables=tables, colours=COLOURS)


@cache
def _environment() -> jinja2.Environment:
    """What pages are made in: everything of HTML is escaped, and a name that is not there is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("delrec_bench.report"),
        autoescape=lambda name: ".html." in str(name),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.globals["beside"] = lambda name: Markup((files(__package__) / "templates" / name).read_text("utf-8"))
    made.filters["md"] = tables.escaped
    return made


def to_json(page: Page, drawn: Sequence[Drawn]) -> str:
    """<page>.json: {schema, page, question, study, profile, source, complete, answer, finding, verdicts, rows, ...}.

    Differences of fewer than five repetitions are `too_few_runs`, and a page of such has no answer.
    """
    declared, judged = page.declared, page.judged
    failed = ("key", "method", "task", "repetition", "error", "command")
    content = {
        "schema": SCHEMA,
        "page": declared.page,
        "question": declared.title,
        "study": declared.study,
        "profile": declared.profile,
        "source": page.source,
        "complete": page.complete,
        "diverged": [
            {"row": declared.runs[failure.key].method} | {name: getattr(failure, name) for name in failed}
            for failure in declared.diverged
        ],
        "revisions": list(page.revisions),
        "answer": judged.answer if all(d.verdict.compared for d in judged.primary) else None,
        "mean": None if judged.mean is None else _picked(judged.mean, "difference", "low", "high", "n"),
        "finding": page.finding,
        "footnotes": list(page.footnotes),
        "verdicts": [_verdict(d) for d in judged.differences if d.verdict.compared],
        "too_few_runs": [
            _picked(d.verdict, "hypothesis", "task", "difference", "n")
            for d in judged.differences
            if not d.verdict.compared
        ],
        "rows": [_row(row) for row in page.rows],
        "repetitions": [
            {"task": row["task"], "method": row["method"], **_picked(record, "repetition", "key", "score")}
            | {name: record.result.get(name) for name in ("valid_score", "best_epoch")}
            for row in page.rows
            for record in row.records
        ],
        "figures": [_picked(figure, "name", "title", "caption") for figure in drawn],
    }
    return "{\n" + ",\n".join(f'"{name}": {_lines(value)}' for name, value in content.items()) + "\n}\n"


def _picked(of: object, *names: str) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names}


def _verdict(d: Difference) -> dict[str, Any]:
    """A verdict in the score's own unit, and its interval over samples too where that is known."""
    over = None if d.wide is None or d.wide.low is None else [d.wide.low, d.wide.high]
    return asdict(d.verdict) | {"over_samples": over, "about": d.about}


def _row(row: Row) -> dict[str, Any]:
    about = {"kind": row.kind, "title": row.title, "family": row.asked.family, "delays": row.delays, "base": row.base}
    return about | {"point": dict(row.asked.point)} | dict(row.values)


def _lines(value: Any) -> str:
    """JSON of a field, a list's items a line each, so that a change of a page shows by rows."""
    form: Any = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    if not isinstance(value, list) or not value:
        return json.dumps(value, **form)
    return "[\n" + ",\n".join(json.dumps(item, **form) for item in value) + "\n]"


def to_metrics(page: Page) -> str:
    """metrics.json: numbers by task and method, as `dvc metrics` shows them."""
    numbers: dict[str, dict[str, dict[str, float]]] = {}
    for row in page.rows:
        for name in ("score_mean", "score_sd", "parameters_total", "latency_train_ms"):
            if row[name] is not None:
                numbers.setdefault(row["task"], {}).setdefault(row["method"], {})[name] = round(row[name], 6)
    return json.dumps(numbers, indent=1, sort_keys=True) + "\n"

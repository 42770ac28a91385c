"""<page>.html: one self-contained file. Layout, style and script lie beside this module."""

import json
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import jinja2
from markupsafe import Markup

from delrec_bench.metrics import metric_named
from delrec_bench.report import tables, texts, words
from delrec_bench.report.content import STAMPS, Page
from delrec_bench.report.figures import parted
from delrec_bench.report.figures.curves import curve
from delrec_bench.report.figures.style import Drawn
from delrec_bench.report.rows import Row
from delrec_bench.report.tables import Table


def to_html(page: Page, drawn: tuple[Drawn, ...]) -> str:
    """The page: inline style, script and figures, no resource from elsewhere."""
    template = environment().from_string(beside("page.html.j2"))
    rows = tables.row_table(page.rows, with_task=True)
    first, after = parted(page, drawn)
    return template.render(
        page=page,
        style=Markup(beside("page.css")),
        script=Markup(beside("page.js")),
        stamps=[(stamp, STAMPS[stamp]) for stamp in page.stamps],
        first=first,
        figures=after,
        svg=lambda figure, narrow=False: Markup(figure.inline(narrow)),
        table=rows,
        lines=[_line(i, row, cells) for i, (row, cells) in enumerate(zip(page.rows, rows.lines, strict=True))],
        kinds=list(dict.fromkeys(_kind(row) for row in page.rows)),
        legend=texts.legend(page),
        verdicts=tables.verdict_table(page),
        not_ranked=texts.NOT_RANKED,
        published=texts.published_groups(page),
        site=lambda url: urlsplit(url).netloc.removeprefix("www."),
        behind=texts.behind(page),
        mean=texts.mean_line(page),
        made=[(p.task, *how) for p in page.parts for how in tables.how_made(page.of(p.task))],
        cells=_cells,
    )


def environment() -> jinja2.Environment:
    """What pages are made in: everything is escaped, and a name that is not there is an error."""
    return jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)


def beside(name: str) -> str:
    """A file of layout, style or script beside this module."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def _kind(row: Row) -> str:
    return {"floor": "floors", "unscored": "not run"}.get(row.kind) or {
        "learned": "learned delays",
        "fixed": "fixed delays",
        "none": "no delays",
    }[row.delays]


def _line(number: int, row: Row, cells: tuple[tables.Cell, ...]) -> dict[str, Any]:
    """A line of the main table: its cells, and what opens under it."""
    return {
        "id": f"more-{number}",
        "row": row,
        "kind": _kind(row),
        "cells": cells,
        "repetitions": tables.repetitions(row),
        "settings": tables.settings_of(row),
        "curves": _curves(row),
        "command": row["command"] or "",
        "source": row["published_source"] or "",
    }


def _curves(row: Row) -> str:
    """Every repetition's curve as compact JSON, which the script draws when the row is opened."""
    frame = curve(row)
    if frame.empty:
        return ""
    digits = max(metric_named(row["metric"]).digits - 1, 1)
    lines = [[round(v, digits) for v in of["score"]] for _, of in frame.groupby("repetition")]
    return json.dumps({"label": words.label(row["metric"]), "lines": lines}, separators=(",", ":"))


def _cells(table: Table) -> list[list[tuple[tables.Cell, bool]]]:
    """(cell, whether it is aligned left) of every line."""
    return [[(cell, i < table.left) for i, cell in enumerate(line)] for line in table.lines]

"""A page's table for other people's documents: LaTeX (booktabs), Markdown, CSV."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from delrec_bench.errors import BenchError, nearest
from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.rows import MODES
from delrec_bench.report.tables import MODE_NAMES, Cell, Table
from delrec_bench.workspace import Workspace

Format = Literal["latex", "markdown", "csv"]
USUAL = ("method", "score", "n", "places", "parameters", "delays", "spikes", "operations", "published")
COLUMNS = ("task", *USUAL, "interval", "control", *(MODE_NAMES[m] for m in MODES), "data", "selection")


def page_file(page: str, workspace: Workspace, ending: str) -> Path:
    """A file of a page: published, else as `report` or `reproduce` left it, or of a folder.

    Raises:
        BenchError: No such page.
    """
    folders = [Path(page)] if Path(page).is_dir() else [workspace.reports / page, workspace.root / "out" / page]
    for folder in folders:
        path = folder / f"{folder.resolve().name}.{ending}"
        if path.is_file():
            return path
    known = {path.parent.name for at in (workspace.reports, workspace.root / "out") for path in at.glob("*/*.json")
             if path.stem == path.parent.name}  # fmt: skip
    raise BenchError(
        f"no page '{page}' in reports/ or out/; {nearest(page, sorted(known))}; `delrec-bench report` makes one"
    )


def read_rows(path: Path) -> list[Mapping[str, Any]]:
    """The rows of a page's json.

    Raises:
        BenchError: It is no page's json.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path} is no page's json ({error}): make the page again") from error
    return list(rows)


def export(rows: Sequence[Mapping[str, Any]], how: Format, columns: Sequence[str] = USUAL, caption: str = "") -> str:
    """The rows as a table, task by task.

    Args:
        rows: Of a page's json.
        how: "latex" (booktabs, everything escaped), "markdown", or "csv" (the same cells).
        columns: Of `COLUMNS`.
        caption: Of the LaTeX table.

    Raises:
        BenchError: An unknown column, or no row.
    """
    for name in columns:
        if name not in COLUMNS:
            raise BenchError(f"no column '{name}'; {nearest(name, COLUMNS)}")
    if not rows:
        raise BenchError("there is no row to export; --task names tasks of the page")
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    shown = [*(["task"] if len(tasks) > 1 and "task" not in columns else []), *columns]
    cells = pd.DataFrame([[cell(row, name) for name in shown] for row in rows], columns=shown)
    cells = cells.loc[:, (cells != "").any()]
    if how == "csv":
        return cells.to_csv(index=False, lineterminator="\n")
    if how == "markdown":
        left = 1 + ("task" in cells.columns)
        return Table.of({str(name): [Cell(text) for text in of] for name, of in cells.items()}, left).markdown()
    styler = cells.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    names = "".join("l" if name in ("task", "method", "control", "data", "selection") else "r" for name in cells)
    text = styler.to_latex(hrules=True, column_format=names, caption=escaped(caption) or None, position="t",
                           position_float="centering", label=None)  # fmt: skip
    return _plain_signs(text)


def cell(row: Mapping[str, Any], name: str) -> str:
    """One cell as people read it; empty where missing."""
    metric = row["metric"]
    if name == "score":
        mean = row["score_mean"]
        return "" if mean is None else f"{words.spread(metric, mean, row['score_sd'])} {_unit(metric)}".strip()
    if name == "interval":
        return words.score_range(metric, row["score_low"], row["score_high"]) if metric else ""
    if name == "published":
        value = row["published_score"]
        return "" if value is None else f"{words.score(metric, value)} ({row['published_selection'] or 'not stated'})"
    if name in ("parameters", "operations"):
        return words.count(row[{"parameters": "parameters_total", "operations": "synaptic_operations"}[name]])
    if name == "delays":
        count = row["parameters_delays"]
        return "" if not count else f"{words.count(count)} {row['delays']}"
    if name == "spikes":
        return "" if row["spikes_per_neuron_step"] is None else f"{row['spikes_per_neuron_step']:.3f}"
    if name in MODE_NAMES.values():
        mode = next(m for m, shown in MODE_NAMES.items() if shown == name)
        return words.milliseconds(row[f"latency_{mode}_ms"])
    value = row.get({"places": "rank_group"}.get(name, name))
    return "" if value is None or (name == "n" and value == 0) else str(value)


def _unit(metric: str) -> str:
    return metric_named(metric).unit


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    signs = {"\\": r"\textbackslash ", "~": r"\textasciitilde ", "^": r"\textasciicircum "}
    signs |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
    return "".join(signs.get(sign, sign) for sign in text)


def _plain_signs(text: str) -> str:
    """Signs beyond ASCII, and those that an old font encoding prints as others, as LaTeX's own."""
    old = (("<", r"\textless{}"), (">", r"\textgreater{}"), ("|", r"\textbar{}"))
    for sign, latex in (("±", r"$\pm$"), ("\u2212", "$-$"), ("×", r"$\times$"), *old):
        text = text.replace(sign, latex)
    return text

"""A page's tables (pandas): its csv, and the cells that people read in Markdown and HTML alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.rows import COLUMNS, MODES, Row
from delrec_bench.report.words import listed
from delrec_bench.statistics.verdicts import SHOWN_ONLY

MODE_NAMES = dict(zip(MODES, ("training step", "inference", "batch 1"), strict=True))


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, what stands small under it, and the number it sorts by."""

    text: str
    note: str = ""
    value: float | None = None

    def __str__(self) -> str:
        return f"{self.text} ({self.note})" if self.text and self.note else self.text or self.note


@dataclass(frozen=True)
class Table:
    """Cells under a head; the first `left` columns are aligned left. A column that no line fills is left out."""

    head: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    left: int = 1

    @staticmethod
    def of(columns: dict[str, list[Cell]], left: int = 1) -> "Table":
        """A table from its columns."""
        filled = {name: cells for name, cells in columns.items() if any(c.text for c in cells)}
        return Table(tuple(filled), tuple(zip(*filled.values(), strict=True)), left)

    def markdown(self) -> str:
        """As Markdown."""
        rule = [":--" if i < self.left else "--:" for i in range(len(self.head))]
        body = [[str(c).replace("|", "\\|") for c in line] for line in self.lines]
        return "\n".join("| " + " | ".join(row) + " |" for row in [list(self.head), rule, *body]) + "\n"


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows under `COLUMNS`, as the csv writes them; missing is None."""
    return pd.DataFrame([[_plain(row[name]) for name in COLUMNS] for row in rows], columns=list(COLUMNS), dtype=object)


def to_csv(page: Page) -> str:
    """<page>.csv: missing is empty, never 0."""
    return frame(page.rows).to_csv(index=False, lineterminator="\n")


def _plain(value: object) -> object:
    """A number as the csv writes it: six decimals, enough of one below a thousandth."""
    if not isinstance(value, float):
        return value
    return f"{value:.6g}" if abs(value) < 1e-3 else f"{value:.6f}".rstrip("0").rstrip(".")


def method_cell(row: Row) -> Cell:
    """A method and what it learns."""
    if row.kind == "floor":
        return Cell(row["method"], "method-free floor")
    return Cell(row["method"], f"learns {row['learned']}" if row["learned"] else "")


def size_cell(row: Row) -> Cell:
    """Parameters in all, how many of them are delays or belong to neurons, and the neurons layer by layer."""
    parts = []
    if row.delay_counts:
        parts.append(row.delay_counts)
    if row["parameters_neuron"]:
        parts.append(f"{words.count(row['parameters_neuron'])} of neurons")
    if row.widths and row["parameters_total"] is not None:
        parts.append(f"layers of {listed([str(width) for width in row.widths])}")
    return Cell(words.count(row["parameters_total"]), ", ".join(parts), row["parameters_total"])


def latency_cell(row: Row, mode: str) -> Cell:
    """Milliseconds; their interquartile range, and the ratio to the no-delay network."""
    value, spread, ratio = (row[f"latency_{mode}_{what}"] for what in ("ms", "ms_iqr", "ratio"))
    notes = [f"IQR {words.milliseconds(spread).removesuffix(' ms')}"] if spread is not None else []
    notes += [f"{ratio:.2f}×"] if ratio is not None else []
    return Cell(words.milliseconds(value), ", ".join(notes), value)


def published_cell(row: Row) -> Cell:
    """The published score with its selection and source."""
    p = row.published
    if p is None:
        return Cell("")
    return Cell(words.spread(p.metric, p.value, p.sd), f"{p.selection or 'selection not stated'}, {p.method}", p.value)


def score_cell(row: Row) -> Cell:
    """Mean and sample standard deviation, with the 95 percent interval; of few runs their range."""
    if row["score_mean"] is None:
        return Cell("")
    if row.kind == "floor" and row["score_sd"] == 0:  # it draws nothing: its repetitions are one and the same
        return Cell(words.spread(row["metric"], row["score_mean"], None), "in every repetition", row["score_mean"])
    interval = words.score_range(row["metric"], row["score_low"], row["score_high"])
    if 0 < row["n"] <= SHOWN_ONLY and row.scores:
        ends = [words.score(row["metric"], end(row.scores.values())) for end in (min, max)]
        interval = "" if row["n"] == 1 else " to ".join(ends)
        return Cell(words.score(row["metric"], row["score_mean"]), interval, row["score_mean"])
    return Cell(words.spread(row["metric"], row["score_mean"], row["score_sd"]), interval, row["score_mean"])


def row_table(rows: Sequence[Row], *, with_task: bool = False) -> Table:
    """The rows as people read them."""
    columns: dict[str, list[Cell]] = {"task": [Cell(r["task"], r["data"] or "") for r in rows]} if with_task else {}
    spikes = [r["spikes_per_neuron_step"] for r in rows]
    columns |= {
        "method": [method_cell(r) for r in rows],
        "score": [score_cell(r) for r in rows],
        "n": [_repetitions_cell(r) for r in rows],
        "places": [Cell(r["rank_group"] or "", value=_first(r["rank_group"])) for r in rows],
        "parameters": [size_cell(r) for r in rows],
        **{MODE_NAMES[m]: [latency_cell(r, m) for r in rows] for m in MODES},
        "spikes": [Cell("" if s is None else f"{s:.3f}", value=s) for s in spikes],
        "operations": [Cell(words.count(r["synaptic_operations"]), value=r["synaptic_operations"]) for r in rows],
        "published": [published_cell(r) for r in rows],
    }
    return Table.of(columns, left=2 if with_task else 1)


def _repetitions_cell(row: Row) -> Cell:
    """How many repetitions a row has; where some diverged, of how many."""
    text = str(row["n"]) if row["n"] else ""
    return Cell(f"{text} of {row['n'] + len(row.diverged)}" if row.diverged else text, value=row["n"])


def _first(group: str | None) -> float | None:
    return None if group is None else float(group.split("-")[0])


def verdict_table(page: Page) -> Table | None:
    """Every comparison that the page judges, the declared one first."""
    shown = [(d, d.verdict, d.method["metric"]) for d in page.judged.differences]
    if not shown:
        return None
    wide = ["" if d.wide is None else words.difference_range(m, d.wide.low, d.wide.high) for d, _, m in shown]
    return Table.of(
        {
            "comparison": [Cell(v.hypothesis, d.about or v.kind) for d, v, _ in shown],
            "task": [Cell(v.task) for _, v, _ in shown],
            "difference": [_size(m, v.difference) for _, v, m in shown],
            "95 % interval": [Cell(words.difference_range(m, v.low, v.high)) for _, v, m in shown],
            "over samples too": [Cell(over) for over in wide],
            "n": [Cell(str(v.n), value=v.n) for _, v, _ in shown],
            "p": [Cell(words.probability(v.p), value=v.p) for _, v, _ in shown],
            "p (Holm)": [Cell(words.probability(v.p_holm), value=v.p_holm) for _, v, _ in shown],
            "margin": [_size(m, v.margin, signed=False) for _, v, m in shown],
            "verdict": [Cell(v.verdict) for _, v, _ in shown],
            "could have seen": [_size(m, v.detectable, signed=False) for _, v, m in shown],
        },
        left=2,
    )


def _size(metric: str, value: float | None, *, signed: bool = True) -> Cell:
    if value is None:
        return Cell("")
    text = words.with_unit(metric, value)
    return Cell(text if signed else text.lstrip("+"), value=value)


def repetitions(row: Row) -> str:
    """Every repetition of a row, those that diverged too."""
    told = {i: words.score(row["metric"], s) for i, s in row.scores.items()} | dict.fromkeys(row.diverged, "diverged")
    return ", ".join(f"r{i} {text}" for i, text in sorted(told.items()))


def settings_of(row: Row) -> str:
    """What the protocol wants beside every row."""
    shown = (
        ("step", row["step_ms"] and f"{row['step_ms']:g} ms"),
        ("T", row["steps"]),
        ("input", row["representation"]),
        ("augmentation", row["augmentation"]),
        ("selection", row["selection"]),
        ("searched preset", ", ".join(sorted(row.searched))),
        ("engine", row["engine"]),
        ("device", row["device"]),
        ("host", row["host"]),
        ("delay buffer", row["delay_buffer"] and words.count(row["delay_buffer"])),
        ("revision", row["code_revision"]),
        ("data", row["data_digest"] and str(row["data_digest"])[:12]),
    )
    return ", ".join(f"{name} {value}" for name, value in shown if value)


def how_made(rows: Sequence[Row]) -> list[tuple[list[str], str, str]]:
    """How rows are made again: (methods, settings, command), those together that differ by nothing but the method."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        command = (row["command"] or "").replace(f"run {row['method']} ", "run $m ")
        groups.setdefault((settings_of(row), command), []).append(row["method"])
    out = []
    for (settings, command), methods in groups.items():
        if len(methods) == 1:
            command = command.replace("run $m ", f"run {methods[0]} ")
        elif command:
            command = f"for m in {' '.join(methods)}; do {command}; done"
        out.append((methods, settings, command))
    return out

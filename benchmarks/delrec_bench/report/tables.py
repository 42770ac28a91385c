"""A page's tables: its csv, and the cells that people read in Markdown and HTML alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.published import dataset_of, published_values
from delrec_bench.report.rows import COLUMNS, Row


@dataclass(frozen=True)
class Cell:
    """A cell: its text, what stands small under it, the number it sorts by, what a pointer on it shows, and a link."""

    text: str
    note: str = ""
    value: float | None = None
    hint: str = ""
    link: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.note})" if self.text and self.note else self.text or self.note

    def markdown(self) -> str:
        """As Markdown: only `link` is a link."""
        text = escaped(str(self))
        return f"[{text}]({self.link})" if self.link and text else text


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

    def text(self) -> str:
        """As a terminal shows it."""
        width = max(len(str(line[0])) for line in self.lines)
        head = [self.head[0].ljust(width), *self.head[1:]]
        lines = [[str(line[0]).ljust(width), *map(str, line[1:])] for line in self.lines]
        return pd.DataFrame(lines, columns=head).to_string(index=False)

    def markdown(self) -> str:
        """As Markdown; names cannot break the table, nor become markup."""
        rule = [":--" if i < self.left else "--:" for i in range(len(self.head))]
        body = [[cell.markdown() for cell in line] for line in self.lines]
        return "\n".join("| " + " | ".join(row) + " |" for row in [list(self.head), rule, *body]) + "\n"


def escaped(text: str) -> str:
    """Text as Markdown shows it."""
    return text.replace("|", "\\|").replace("[", "\\[").replace("<", "&lt;")


def to_csv(page: Page) -> str:
    """<page>.csv: the rows under `COLUMNS`; missing is empty, never 0."""
    lines = [[_plain(row[name]) for name in COLUMNS] for row in page.rows]
    return pd.DataFrame(lines, columns=list(COLUMNS), dtype=object).to_csv(index=False, lineterminator="\n")


def _plain(value: object) -> object:
    """A number as the csv writes it: six decimals, enough of one below a thousandth."""
    if not isinstance(value, float):
        return value
    return f"{value:.6g}" if abs(value) < 1e-3 else f"{value:.6f}".rstrip("0").rstrip(".")


def score_cell(row: Row) -> Cell:
    """Mean and 95 percent interval; of few runs their range."""
    mean, metric = row["score_mean"], row["metric"]
    if mean is None:
        return Cell("")
    if row.kind == "floor" and not row["score_sd"]:  # it draws nothing: its repetitions are one and the same
        return Cell(words.score(metric, mean), value=mean)
    told = words.between(metric, row["score_low"], row["score_high"])
    note = f"95 %: {told}" if told else ""
    if not row.compared and row["n"] > 1:
        note = f"range {words.between(metric, min(row.scores.values()), max(row.scores.values()))}"
    return Cell(words.score(metric, mean), note, mean)


def runs_cell(row: Row) -> Cell:
    """How many repetitions a row has; where some diverged, of how many."""
    text = str(row["n"]) if row["n"] else ""
    return Cell(f"{text or 0} of {row['n'] + len(row.diverged)}" if row.diverged else text, value=row["n"])


def parameters_cell(row: Row) -> Cell:
    """How many parameters are trained, and all of them where delays are fixed."""
    trained, total = row.trainable, row["parameters_total"]
    return Cell(words.count(trained), "" if trained == total else f"{words.count(total)} with fixed delays", trained)


def step_cell(row: Row) -> Cell:
    """A training step relative to the LIF network's, and its milliseconds."""
    ratio, time = row["latency_train_ratio"], row["latency_train_ms"]
    shown = words.milliseconds(time)
    return Cell(shown if ratio is None else f"{ratio:.1f}×", "" if ratio is None else shown, ratio or time)


def row_table(rows: Sequence[Row]) -> Table:
    """The rows of a task as people read them."""
    metric = next((row["metric"] for row in rows if row["metric"]), None)
    return Table.of(
        {
            "method": [Cell(r.title) for r in rows],
            metric_named(metric).label if metric else "score": [score_cell(r) for r in rows],
            "runs": [runs_cell(r) for r in rows],
            "trainable parameters": [parameters_cell(r) for r in rows],
            "training step": [step_cell(r) for r in rows],
        }
    )


def more_table(page: Page, task: str) -> Table:
    """What is folded of the rows of a task: rank, cost, and every run."""
    rows = [row for row in page.of(task) if row.records]
    spikes = [row["spikes_per_neuron_step"] for row in rows]
    return Table.of(
        {
            "method": [Cell(r.title, f"`{r['method']}`") for r in rows],
            "rank": [Cell(r["rank_group"] or "") for r in rows],
            "delay parameters": [Cell(words.count(r["parameters_delays"] or None), r.delays) for r in rows],
            "inference": [Cell(words.milliseconds(r["latency_infer_ms"])) for r in rows],
            "batch 1": [Cell(words.milliseconds(r["latency_batch1_ms"])) for r in rows],
            "spikes per neuron and step": [Cell("" if s is None else f"{s:.3f}", value=s) for s in spikes],
            "synaptic operations": [Cell(words.count(r["synaptic_operations"])) for r in rows],
            "all runs": [Cell(repetitions(r)) for r in rows],
        }
    )


def repetitions(row: Row) -> str:
    """Every repetition of a row, those that diverged too."""
    told = {i: words.score(row["metric"], s) for i, s in row.scores.items()} | dict.fromkeys(row.diverged, "diverged")
    return ", ".join(f"r{i} {text}" for i, text in sorted(told.items()))


def verdict_table(page: Page) -> Table | None:
    """Every comparison of the page, the declared one first; of few repetitions the difference alone."""
    columns: dict[str, list[Cell]] = {}
    for d in page.judged.differences:
        v, metric = d.verdict, d.method["metric"]
        minus = page.declared.primary.minus if page.declared.primary and v.kind == "primary" else ()
        less = f"compared with {' − '.join(map(page.declared.title_of, minus))}" if minus else ""
        kind = "declared" if v.kind == "primary" else "exploratory"
        wide = "" if d.wide is None else words.difference_range(metric, d.wide.low, d.wide.high)
        cells = {
            "comparison": Cell(f"{d.method.title} − {d.control.title}", d.about or less or kind),
            "task": Cell(page.declared.task_title(v.task)),
            "difference": _size(metric, v.difference),
            "95 % interval": Cell(words.difference_range(metric, v.low, v.high) * v.compared),
            "95 % interval, also over samples": Cell(wide * v.compared),
            "runs": Cell(str(v.n), value=v.n),
            "p": Cell(words.probability(v.p), value=v.p),
            "p (Holm)": Cell(words.probability(v.p_holm), value=v.p_holm),
            "margin": _size(metric, v.margin, signed=False),
            "verdict": Cell(v.verdict * v.compared),
            "detectable difference": _size(metric, v.detectable, signed=False),
        }
        for name, cell in cells.items():
            columns.setdefault(name, []).append(cell)
    return Table.of(columns, left=2) if columns else None


def _size(metric: str, value: float | None, *, signed: bool = True) -> Cell:
    if value is None:
        return Cell("")
    text = words.difference(metric, value)
    return Cell(text if signed else text.lstrip("+"), value=value)


def delay_table(page: Page) -> Table | None:
    """Where training moved learned delays, layer by layer: medians in steps, means over repetitions."""
    columns: dict[str, list[Cell]] = {name: [] for name in ("method", "task", "layer", "start", "end", "moved")}
    for row in (row for row in page.rows if row.delays == "learned"):
        layers: dict[tuple[str, str], list[Any]] = {}
        for record in row.records:
            for layer in record.delays or ():
                layers.setdefault((layer["layer"], layer["kind"]), []).append(layer)
        for (name, kind), of in layers.items():
            start, end, moved = (np.mean([layer[what] for layer in of], axis=0) for what in ("start", "end", "moved"))
            number = next((int(part) + 1 for part in name.split(".") if part.isdigit()), name)
            cells = [row.title, page.declared.task_title(row["task"]), f"{number}, {kind}"]
            cells += [f"{q[5]:.1f} ({q[0]:.1f} to {q[10]:.1f})" for q in (start, end)]
            cells += [f"{100 * float(moved):.0f} %"]
            for column, text in zip(columns.values(), cells, strict=True):
                column.append(Cell(text))
    return Table.of(columns, left=3) if columns["method"] else None


def rate_table(page: Page) -> Table | None:
    """Spikes per neuron and step in each layer on the test set, means over repetitions."""
    rates = [(row, [r.activity["rates"] for r in row.records if r.activity.get("rates")]) for row in page.rows]
    means = [(row, np.mean(of, axis=0)) for row, of in rates if len({len(one) for one in of}) == 1]
    if not means:
        return None
    columns = {
        "method": [Cell(row.title) for row, _ in means],
        "task": [Cell(page.declared.task_title(row["task"])) for row, _ in means],
    }
    for layer in range(max(len(of) for _, of in means)):
        columns[f"layer {layer + 1}"] = [Cell(f"{of[layer]:.3f}" if layer < len(of) else "") for _, of in means]
    return Table.of(columns, left=2)


def published_tables(page: Page) -> list[tuple[str, Table]]:
    """The published values of each of the page's own datasets, best first."""
    out = []
    for dataset in filter(None, dict.fromkeys(dataset_of(row["task"], row["data"]) for row in page.rows)):
        values = [p for p in published_values() if p.dataset == dataset]
        values.sort(key=lambda p: metric_named(p.metric).rank(p.value))
        told = [words.score(p.metric, p.value) + (f" ± {words.score(p.metric, p.sd)}" if p.sd else "") for p in values]
        columns = {
            "method": [Cell(p.method, p.neuron) for p in values],
            "published": [Cell(text, value=p.value) for p, text in zip(values, told, strict=True)],
            "runs": [Cell(p.n) for p in values],
            "parameters": [Cell(p.parameters) for p in values],
            "delays": [Cell(p.delays) for p in values],
            "checkpoint chosen on": [Cell(p.selection or "not stated") for p in values],
            "year": [Cell(p.year) for p in values],
            "source": [Cell(p.source.partition("://")[2].partition("/")[0], link=p.source) for p in values],
        }
        out.append((dataset, Table.of(columns)))
    return out


def setup(page: Page) -> list[str]:
    """How the networks were trained: a line for each task, then what they share."""
    rows = [row for row in page.rows if row.records]
    runs = [row for row in rows if row.kind == "run"] or rows

    def said(name: str, of: Sequence[Row]) -> list[str]:
        return list(dict.fromkeys(str(row[name]) for row in of if row[name] is not None))

    lines = []
    for task in page.tasks:
        of = [row for row in runs if row["task"] == task]
        if not of:
            continue
        counts = sorted({row["n"] for row in of})
        repeated = words.plural(counts[-1], "run") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} runs"
        epochs = sorted({len(r.history) for row in of for r in row.records if r.history})
        lengths = [f"{' or '.join(map(str, epochs))} epochs"] if epochs else []
        steps = [f"{float(step):g} ms per step" for step in said("step_ms", of)]
        told = [f"{repeated} per row", *lengths, *said("representation", of), *steps]
        data = "" if page.declared.board else f"; {page.data_line(task)}"  # the board lists it at length
        lines.append(f"{page.declared.task_title(task)}: {', '.join(told)}{data}")
    if chosen := said("selection", runs):
        lines.append(f"Checkpoint: chosen on {words.listed(chosen)} data; the test set is scored once")
    if engines := said("engine", runs):
        where = " and ".join(said("host", runs)) or "host not recorded"
        lines.append(f"Engines: {words.listed(engines)}, on {words.listed(said('device', runs))} ({where})")
    lines.append(f"Code: {', '.join(page.revisions) or 'not recorded'}")
    return lines

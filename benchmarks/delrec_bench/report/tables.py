"""A page's tables: its csv, and the cells that people read in Markdown and HTML alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import Page, judged
from delrec_bench.report.judging import Difference
from delrec_bench.report.published import Published, dataset_of, published_values
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
    return Table.of(
        {
            "method": [Cell(r.title) for r in rows],
            _score_head(rows): [score_cell(r) for r in rows],
            "runs": [runs_cell(r) for r in rows],
            "trainable parameters": [parameters_cell(r) for r in rows],
            "training step": [step_cell(r) for r in rows],
        }
    )


def _score_head(rows: Sequence[Row]) -> str:
    metrics = [row["metric"] for row in rows if row["metric"]]
    return metric_named(metrics[0]).label if metrics else "score"


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
            "every run": [Cell(repetitions(r)) for r in rows],
        }
    )


def repetitions(row: Row) -> str:
    """Every repetition of a row, those that diverged too."""
    told = {i: words.score(row["metric"], s) for i, s in row.scores.items()} | dict.fromkeys(row.diverged, "diverged")
    return ", ".join(f"r{i} {text}" for i, text in sorted(told.items()))


def verdict_table(page: Page) -> Table | None:
    """Every comparison of the page, the declared one first; of few repetitions the difference alone."""
    shown = page.judged.differences
    if not shown:
        return None

    def sides(d: Difference) -> Cell:
        less = "less" + d.verdict.hypothesis.partition(", less")[2] if ", less" in d.verdict.hypothesis else ""
        return Cell(f"{d.method.title} − {d.control.title}", d.about or less or d.verdict.kind)

    def of(d: Difference, text: str) -> Cell:
        return Cell(text if judged(d) else "")

    told = [(d, d.verdict, d.method["metric"]) for d in shown]
    return Table.of(
        {
            "comparison": [sides(d) for d in shown],
            "task": [Cell(page.declared.task_title(v.task)) for _, v, _ in told],
            "difference": [_size(m, v.difference) for _, v, m in told],
            "95 % interval": [of(d, words.difference_range(m, v.low, v.high)) for d, v, m in told],
            "over test samples too": [
                of(d, "" if d.wide is None else words.difference_range(m, d.wide.low, d.wide.high)) for d, _, m in told
            ],
            "runs": [Cell(str(v.n), value=v.n) for _, v, _ in told],
            "p": [Cell(words.probability(v.p), value=v.p) for _, v, _ in told],
            "p (Holm)": [Cell(words.probability(v.p_holm), value=v.p_holm) for _, v, _ in told],
            "margin": [_size(m, v.margin, signed=False) for _, v, m in told],
            "verdict": [of(d, v.verdict) for d, v, _ in told],
            "detectable": [_size(m, v.detectable, signed=False) for _, v, m in told],
        },
        left=2,
    )


def _size(metric: str, value: float | None, *, signed: bool = True) -> Cell:
    if value is None:
        return Cell("")
    text = words.difference(metric, value)
    return Cell(text if signed else text.lstrip("+"), value=value)


def delay_table(page: Page) -> Table | None:
    """Where training moved learned delays, layer by layer: medians in steps, means over repetitions."""
    columns: dict[str, list[Cell]] = {name: [] for name in ("method", "task", "layer", "start", "end", "moved")}
    for row in (row for row in page.rows if row.delays == "learned"):
        layers: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for record in row.records:
            for layer in record.delays or ():
                layers.setdefault((layer["layer"], layer["kind"]), []).append(dict(layer))
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
    found = [
        (row, of)
        for row in page.rows
        if len(of := [r.activity["rates"] for r in row.records if r.activity.get("rates")])
    ]
    found = [(row, of) for row, of in found if len({len(one) for one in of}) == 1]
    if not found:
        return None
    means = [(row, np.mean(of, axis=0)) for row, of in found]
    columns = {
        "method": [Cell(row.title) for row, _ in means],
        "task": [Cell(page.declared.task_title(row["task"])) for row, _ in means],
    }
    for layer in range(max(len(of) for _, of in means)):
        columns[f"layer {layer + 1}"] = [Cell(f"{of[layer]:.3f}" if layer < len(of) else "") for _, of in means]
    return Table.of(columns, left=2)


def published_tables(page: Page) -> list[tuple[str, Table, Sequence[Published]]]:
    """The published values of the page's own datasets: (dataset, table, values), best first."""
    out: list[tuple[str, Table, Sequence[Published]]] = []
    for dataset in filter(None, dict.fromkeys(dataset_of(row["task"], row["data"]) for row in page.rows)):
        values = [p for p in published_values() if p.dataset == dataset]
        values.sort(key=lambda p: metric_named(p.metric).rank(p.value))
        columns = {
            "method": [Cell(p.method, p.neuron) for p in values],
            "published": [Cell(words.spread(p.metric, p.value, p.sd), value=p.value) for p in values],
            "runs": [Cell(p.n) for p in values],
            "parameters": [Cell(p.parameters) for p in values],
            "delays": [Cell(p.delays) for p in values],
            "checkpoint chosen on": [Cell(p.selection or "not stated") for p in values],
            "year": [Cell(p.year) for p in values],
            "source": [Cell(p.source.partition("://")[2].partition("/")[0], link=p.source) for p in values],
        }
        out.append((dataset, Table.of(columns), values))
    return out


def commands(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """(title, command) of every row that has one."""
    return [(row.title, row["command"]) for row in rows if row["command"]]


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

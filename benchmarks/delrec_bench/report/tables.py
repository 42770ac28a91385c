"""A page's tables: its csv, and the cells that people read in Markdown and HTML alike."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from delrec_bench.metrics import metric_named
from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.judging import Difference
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
    def of(rows: Iterable[Mapping[str, Cell | str]], left: int = 1) -> "Table":
        """A table from its lines, by the names of their columns."""
        lines = [{name: Cell(of) if isinstance(of, str) else of for name, of in row.items()} for row in rows]
        names = dict.fromkeys(name for line in lines for name in line)
        head = tuple(name for name in names if any(name in line and line[name].text for line in lines))
        return Table(head, tuple(tuple(line.get(name, Cell("")) for name in head) for line in lines), left)

    def __bool__(self) -> bool:
        return bool(self.lines)

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
    told = words.between(metric, row["score_low"], row["score_high"])
    note = f"95 %: {told}" if told else ""
    if not row.compared and row["n"] > 1:
        note = f"range {words.between(metric, min(row.scores.values()), max(row.scores.values()))}"
    if row.kind == "floor" and not row["score_sd"]:  # it draws nothing: its repetitions are one and the same
        note = ""
    return Cell(words.score(metric, mean), note, mean)


def runs_cell(row: Row) -> Cell:
    """How many repetitions a row has; where some diverged, of how many."""
    text = f"{row['n']} of {row['n'] + len(row.diverged)}" if row.diverged else str(row["n"] or "")
    return Cell(text, value=row["n"])


def parameters_cell(row: Row) -> Cell:
    """How many parameters are trained, and all of them where delays are fixed."""
    trained, total = row.trainable, row["parameters_total"]
    return Cell(words.count(trained), "" if trained == total else f"{words.count(total)} with fixed delays", trained)


def step_cell(row: Row) -> Cell:
    """A training step relative to the LIF network's, and its milliseconds."""
    ratio, time = row["latency_train_ratio"], time_cell(row["latency_train_ms"])
    return time if ratio is None else Cell(f"{ratio:.1f}×", time.text, ratio)


def time_cell(value: float | None) -> Cell:
    """A time in milliseconds."""
    return Cell(words.milliseconds(value), value=value)


def row_table(rows: Sequence[Row]) -> Table:
    """The rows of a task as people read them."""
    metric = next((row["metric"] for row in rows if row["metric"]), None)
    return Table.of(
        {
            "method": row.title,
            metric_named(metric).label if metric else "score": score_cell(row),
            "runs": runs_cell(row),
            "trainable parameters": parameters_cell(row),
            "training step": step_cell(row),
        }
        for row in rows
    )


def more_table(page: Page, task: str) -> Table:
    """What is folded of the rows of a task: rank, cost, and every run."""
    return Table.of(
        {
            "method": Cell(row.title, f"`{row['method']}`"),
            "rank": row["rank_group"] or "",
            "delay parameters": Cell(words.count(row["parameters_delays"] or None), row.delays),
            "inference": time_cell(row["latency_infer_ms"]),
            "batch 1": time_cell(row["latency_batch1_ms"]),
            "spikes per neuron and step": _rate(row["spikes_per_neuron_step"]),
            "synaptic operations": words.count(row["synaptic_operations"]),
            "all runs": repetitions(row),
        }
        for row in page.of(task)
        if row.records
    )


def _rate(value: float | None) -> Cell:
    return Cell("" if value is None else f"{value:.3f}", value=value)


def repetitions(row: Row) -> str:
    """Every repetition of a row, those that diverged too."""
    told = {i: words.score(row["metric"], s) for i, s in row.scores.items()} | dict.fromkeys(row.diverged, "diverged")
    return ", ".join(f"r{i} {text}" for i, text in sorted(told.items()))


def verdict_table(page: Page) -> Table:
    """Every comparison of the page, the declared one first; of few repetitions the difference alone."""
    return Table.of((_verdict(d, page) for d in page.judged.differences), left=2)


def _verdict(d: Difference, page: Page) -> dict[str, Cell | str]:
    v, metric, declared = d.verdict, d.method["metric"], page.declared
    about = d.about or ("declared" if v.kind == "primary" else "exploratory")
    if v.kind == "primary" and declared.primary is not None and declared.primary.minus:
        about = f"compared with {' − '.join(map(declared.title_of, declared.primary.minus))}"
    wide = "" if d.wide is None else words.difference_range(metric, d.wide.low, d.wide.high)

    def size(value: float | None) -> Cell:
        return Cell("" if value is None else words.difference(metric, value).lstrip("+"), value=value)

    return {
        "comparison": Cell(f"{d.method.title} − {d.control.title}", about),
        "task": declared.task_title(v.task),
        "difference": Cell("" if v.difference is None else words.difference(metric, v.difference), value=v.difference),
        "95 % interval": words.difference_range(metric, v.low, v.high) * v.compared,
        "95 % interval, also over samples": wide * v.compared,
        "runs": Cell(str(v.n), value=v.n),
        "p": Cell(words.probability(v.p), value=v.p),
        "p (Holm)": Cell(words.probability(v.p_holm), value=v.p_holm),
        "margin": size(v.margin),
        "verdict": v.verdict * v.compared,
        "detectable difference": size(v.detectable),
    }


def delay_table(page: Page) -> Table:
    """Where training moved learned delays, layer by layer: medians in steps, means over repetitions."""
    lines: list[dict[str, Cell | str]] = []
    for row in (row for row in page.rows if row.delays == "learned"):
        layers: dict[tuple[str, str], list[Any]] = {}
        for record in row.records:
            for layer in record.delays or ():
                layers.setdefault((layer["layer"], layer["kind"]), []).append(layer)
        for (name, kind), of in layers.items():
            start, end, moved = (np.mean([layer[what] for layer in of], axis=0) for what in ("start", "end", "moved"))
            number = next((int(part) + 1 for part in name.split(".") if part.isdigit()), name)
            line = {"method": row.title, "task": page.declared.task_title(row["task"]), "layer": f"{number}, {kind}"}
            for name, q in {"start": start, "end": end}.items():
                line[name] = f"{q[5]:.1f} ({q[0]:.1f} to {q[10]:.1f})"
            lines.append({**line, "moved": f"{100 * float(moved):.0f} %"})
    return Table.of(lines, left=3)


def rate_table(page: Page) -> Table:
    """Spikes per neuron and step in each layer on the test set, means over repetitions."""
    rates = [(row, [r.activity["rates"] for r in row.records if r.activity.get("rates")]) for row in page.rows]
    return Table.of(
        (
            {"method": row.title, "task": page.declared.task_title(row["task"])}
            | {f"layer {number}": _rate(rate) for number, rate in enumerate(np.mean(of, axis=0).tolist(), 1)}
            for row, of in rates
            if len({len(one) for one in of}) == 1
        ),
        left=2,
    )


def setup(page: Page) -> list[str]:
    """How the networks were trained: a line for each task, then what they share."""
    rows = [row for row in page.rows if row.records]
    runs = [row for row in rows if row.kind == "run"] or rows

    def said(name: str, of: Sequence[Row]) -> list[str]:
        return list(dict.fromkeys(str(row[name]) for row in of if row[name] is not None))

    lines = []
    for task in dict.fromkeys(row["task"] for row in runs):
        of = [row for row in runs if row["task"] == task]
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

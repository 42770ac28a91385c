"""A page's tables: its csv, and the cells that people read in Markdown, HTML and the terminal alike."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from delrec_bench.report import words
from delrec_bench.report.content import Page
from delrec_bench.report.judging import Difference
from delrec_bench.report.rows import COLUMNS, Row

STEP, SINGLE = "training step (× LIF)", "batch-1 inference (× LIF)"


@dataclass(frozen=True)
class Cell:
    """A cell: its text, what stands small under it, the number it sorts by, what a pointer on it shows, and a link."""

    text: str = ""
    note: str = ""
    value: float | None = None
    hint: str = ""
    link: str = ""

    def __bool__(self) -> bool:
        return bool(self.text)

    @property
    def bare(self) -> "Cell":
        """The number alone."""
        return Cell(self.text, value=self.value)

    def __str__(self) -> str:
        return f"{self.text} ({self.note})" if self.text and self.note else self.text or self.note


def table(lines: Iterable[Mapping[str, Cell | str]]) -> pd.DataFrame:
    """Cells by the names of their columns; a column that no line fills is left out."""
    cells = [{name: Cell(of) if isinstance(of, str) else of for name, of in line.items()} for line in lines]
    names = dict.fromkeys(name for line in cells for name in line)
    columns = {name: [line.get(name, Cell()) for line in cells] for name in names}
    return pd.DataFrame({name: of for name, of in columns.items() if any(of)})


def left(frame: pd.DataFrame) -> list[bool]:
    """Whether a column is aligned left: it holds no numbers."""
    return [all(cell.value is None for cell in frame[name]) for name in frame]


def as_text(frame: pd.DataFrame) -> str:
    """A table as a terminal shows it, its first column aligned left; nothing of a table without lines."""
    if frame.empty:
        return ""
    names = frame.iloc[:, 0].map(str)
    aligned = {frame.columns[0]: names.str.ljust(names.str.len().max())}
    return frame.map(str).assign(**aligned).to_string(index=False)


def to_csv(page: Page) -> str:
    """<page>.csv: the rows under `COLUMNS`; missing is empty, never 0."""
    lines = [[_plain(row[name]) for name in COLUMNS] for row in page.rows]
    return pd.DataFrame(lines, columns=list(COLUMNS), dtype=object).to_csv(index=False, lineterminator="\n")


def _plain(value: object) -> object:
    """A number as the csv writes it: six decimals, enough of one below a thousandth."""
    if not isinstance(value, float):
        return value
    return f"{value:.6g}" if abs(value) < 1e-3 else f"{value:.6f}".rstrip("0").rstrip(".")


def spread(row: Row) -> str:
    """The 95 percent interval of a row's score; of few runs their range, of one run nothing."""
    return "" if row.ends[0] == row.ends[1] else words.interval(row.metric.format, *row.ends)


def score_cell(row: Row) -> Cell:
    """Mean and 95 percent interval; of few runs their range; of a row without a score whether its runs diverged."""
    if row["score_mean"] is None:
        return Cell("diverged" if row.diverged else "")
    told = spread(row)
    note = f"95 %: {told}" if row.compared else f"range {told}"
    return Cell(row.metric.format(row["score_mean"]), note if told else "", row["score_mean"])


def runs_cell(row: Row) -> Cell:
    """How many repetitions a row has; where some diverged, of how many; and whether several revisions made them."""
    text = f"{row['n']} of {row['n'] + len(row.diverged)}" if row.diverged else str(row["n"] or "")
    revisions = len((row["code_revision"] or "").split())
    return Cell(text, f"{revisions} code revisions" if revisions > 1 else "", row["n"])


def parameters_cell(row: Row) -> Cell:
    """How many parameters are trained, and all of them where delays are fixed."""
    trained, total = row.trainable, row["parameters_total"]
    note = "" if trained == total else f"{words.number(total)} with fixed delays"
    return Cell(words.number(trained), note, trained)


def time_cell(row: Row, mode: str) -> Cell:
    """A training step or an inference relative to the LIF network's, and its milliseconds."""
    ratio, time = row[f"latency_{mode}_ratio"], number_cell(row[f"latency_{mode}_ms"], words.milliseconds)
    return time if ratio is None else Cell(f"{ratio:.1f}×", time.text, ratio)


def number_cell(value: float | None, form: Callable[[float | None], str] = words.number, note: str = "") -> Cell:
    """A number in a form of `words`."""
    return Cell(form(value), note, value)


def row_table(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows of a task as people read them."""
    label = next((row.metric.label for row in rows if row["metric"]), "score")
    return table(
        {
            "method": row.title,
            label: score_cell(row),
            "runs": runs_cell(row),
            "trainable parameters": parameters_cell(row),
            STEP: time_cell(row, "train"),
        }
        for row in rows
    )


def more_table(page: Page, task: str) -> pd.DataFrame:
    """What is folded of the rows of a task: rank, cost, firing rates, and every run."""
    return table(
        {
            "method": Cell(row.title, f"`{row['method']}`"),
            "rank": row["rank_group"] or "",
            "delay parameters": number_cell(row["parameters_delays"] or None, note=row.delays),
            "inference (× LIF)": time_cell(row, "infer"),
            SINGLE: time_cell(row, "batch1"),
            "spikes per neuron and step": rates_cell(row),
            "synaptic operations": number_cell(row["synaptic_operations"]),
            "all runs": repetitions(row),
        }
        for row in page.of(task)
        if row.records or row.diverged
    )


def rates_cell(row: Row) -> Cell:
    """Spikes per neuron and step on the test set, in all and in each layer, means over repetitions."""
    rates = pd.DataFrame([r.activity["rates"] for r in row.records if r.activity.get("rates")]).mean()
    note = "by layer: " + ", ".join(rates.map("{:.3f}".format)) if len(rates) else ""
    return Cell(words.number(row["spikes_per_neuron_step"], 3), note, row["spikes_per_neuron_step"])


def repetitions(row: Row) -> str:
    """Every repetition of a row, those that diverged too."""
    told = {i: row.metric.format(s) for i, s in row.scores.items()} | {f.repetition: "diverged" for f in row.diverged}
    return ", ".join(f"r{i} {text}" for i, text in sorted(told.items()))


def verdict_table(page: Page, shown: Sequence[Difference] | None = None) -> pd.DataFrame:
    """The comparisons of the page, or some of them, the declared one first; of few repetitions the difference alone."""
    lines: list[dict[str, Cell | str]] = []
    for d in page.differences if shown is None else shown:
        v, metric = d.verdict, d.method.metric
        form = metric.format_difference
        # where samples are clustered, the interval before it holds them
        wide = "" if d.clustered or not (e := d.over_samples) else words.interval(form, e.low, e.high)
        margin, least = (Cell(words.difference(metric, x).lstrip("+"), value=x) for x in (v.margin, v.detectable))
        lines.append(
            {
                "comparison": Cell(
                    d.title, ": ".join(filter(None, ("declared" if d.primary else "exploratory", d.about)))
                ),
                "task": page.title_of(d.method["task"]),
                "difference": Cell(words.difference(metric, v.difference), value=v.difference),
                "95 % interval": words.interval(form, v.low, v.high) * v.compared,
                "95 % interval, also over samples": wide * v.compared,
                "runs": number_cell(v.n),
                "p": number_cell(v.p, words.probability),
                "p (Holm)": number_cell(v.p_holm, words.probability),
                "margin": margin,
                "verdict": v.verdict * v.compared,
                "detectable difference": least,
            }
        )
    return table(lines)


def delay_table(page: Page) -> pd.DataFrame:
    """Where training moved learned delays, layer by layer: medians in steps, means over repetitions."""
    lines: list[dict[str, Cell | str]] = []
    for row in (row for row in page.rows if row.delays == "learned"):
        told = [layer for record in row.records for layer in record.delays or ()]
        layers = pd.DataFrame(told, columns=["layer", "kind", "start", "end", "moved"])
        for (name, kind), of in layers.groupby(["layer", "kind"], sort=False):
            number = next((int(part) + 1 for part in str(name).split(".") if part.isdigit()), name)
            line = {"method": row.title, "task": page.title_of(row["task"]), "layer": f"{number}, {kind}"}
            ends = {what: np.mean(of[what].tolist(), axis=0) for what in ("start", "end")}
            line |= {what: f"{q[5]:.1f} ({q[0]:.1f} to {q[10]:.1f})" for what, q in ends.items()}
            lines.append(line | {"moved": Cell(f"{100 * of.moved.mean():.0f} %", value=of.moved.mean())})
    return table(lines)

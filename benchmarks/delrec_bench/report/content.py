"""What a page says, before anything is laid out: Markdown and HTML are two forms of one `Page`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from delrec_bench.records import Record
from delrec_bench.report import words
from delrec_bench.report.declared import Declaration
from delrec_bench.report.finding import filled
from delrec_bench.report.judging import Difference, Judged, judge_page
from delrec_bench.report.rows import Row, build_rows, setting
from delrec_bench.statistics.verdicts import SHOWN_ONLY

STAMPS = {
    "DRAWN": "inputs drawn at the task's shape and rate",
    "EMBEDDED": "made by the suite or shipped with a library; not comparable with published values",
    "STAND-IN": "a stand-in in the official file layout; not comparable with published values",
    "OFFICIAL": "the official files",
    "OFFICIAL SUBSET": "a part of the official files; not comparable with published values",
}
SHOWN = f"Rows with up to {SHOWN_ONLY} runs show their mean and range; they get no interval and no verdict."
EXPLORATORY = "No comparison was declared before these runs, so all of them are exploratory."
SCORED_ANEW = "Rows with a condition, lesion or deployment re-score the trained networks of another row."
TEST_SELECTED = (
    "Do not cite the best-test rows: their epoch was chosen on the test set, to show how much that inflates."
)
_CAVEATS = 3


@dataclass(frozen=True)
class Page:
    """Everything a page shows.

    Attributes:
        declared: What was declared before the runs.
        rows: In order.
        judged: All verdicts.
        finding: The study's own, filled with numbers; None where it has none, or the runs do not support it.
        footnotes: What a reader must know before trusting a row, the gravest first.
        records: Every record behind the rows, latency included.
        missing: Keys that lack a record.
        source: Where the records were read.
    """

    declared: Declaration
    rows: tuple[Row, ...]
    judged: Judged
    finding: str | None
    footnotes: tuple[str, ...]
    records: tuple[Record, ...]
    missing: tuple[str, ...]
    source: str

    @property
    def complete(self) -> bool:
        """Whether every run that the study declares is there."""
        return not (self.missing or self.declared.narrowed)

    @property
    def answer(self) -> str | None:
        """The declared comparison in one sentence, in points; None where there is none."""
        asked, answer, told = self.declared.primary, self.judged.answer, self.judged.primary
        if asked is None or answer is None:
            return None
        sides = " against ".join(map(self.declared.title_of, (asked.method, asked.control)))
        if asked.minus:
            sides += f", less {' against '.join(map(self.declared.title_of, asked.minus))}"
        each = words.listed([f"{_said(d)} on {self.declared.task_title(d.method['task'])}" for d in told])
        if not all(d.verdict.compared for d in told):
            return f"{sides}: {each}; too few runs for a verdict."
        return f"{answer.capitalize().replace(' all', ' all tasks')}: {sides}: {each}."

    @property
    def mean_line(self) -> str | None:
        """The mean difference of the declared comparison over its tasks; None where there is none."""
        mean = self.judged.mean
        if mean is None or mean.difference is None:
            return None
        metric = self.judged.primary[0].method["metric"]
        interval = words.difference_range(metric, mean.low, mean.high)
        return f"Mean over these {mean.n} tasks: {words.difference(metric, mean.difference)} {interval}."

    @property
    def caveats(self) -> tuple[str, ...]:
        """The footnotes that stand by the table; the others are folded."""
        return self.footnotes[:_CAVEATS]

    @property
    def folded_notes(self) -> tuple[str, ...]:
        """The other footnotes, and what the data says of itself."""
        notes = [(r["task"], one.data.get("notes") or []) for r in self.rows for one in r.records]
        told = (f"{self.declared.task_title(task)}: {text}" for task, of in notes for text in of)
        return (*self.footnotes[_CAVEATS:], *dict.fromkeys(told))

    @property
    def tasks(self) -> tuple[str, ...]:
        """In the order of the page."""
        return tuple(dict.fromkeys(row["task"] for row in self.rows))

    @property
    def revisions(self) -> tuple[str, ...]:
        """Of the code behind the rows."""
        return tuple(sorted({name for row in self.rows for name in row.revisions}))

    def of(self, task: str) -> tuple[Row, ...]:
        """The rows of one task."""
        return tuple(row for row in self.rows if row["task"] == task)

    def stamp(self, task: str) -> str:
        """Whose data a task's is: of a task with parts of the official files, that."""
        stamps = [str(row["data"]) for row in self.of(task) if row["data"]]
        return next((s for s in stamps if "SUBSET" in s), stamps[0] if stamps else "")

    def size_line(self, task: str) -> str:
        """How many classes and samples the data of a task has; empty where nothing was run."""
        data = next((record.data for row in self.of(task) for record in row.records), None)
        if data is None:
            return ""
        sizes, classes = data.get("sizes") or {}, data.get("classes") or 0
        counts = [f"{sizes[part]:,} {part}" for part in ("train", "valid", "test") if part in sizes]
        return ", ".join([f"{classes} classes"] * (classes > 1) + counts)

    def data_line(self, task: str) -> str:
        """What a task's data is: what is to be learned, whose files, how many samples."""
        stamp, summary = self.stamp(task), self.declared.about(task).summary
        told = ["" if stamp == "STAND-IN" else summary, STAMPS.get(stamp, ""), self.size_line(task)]
        return "; ".join(filter(None, told))

    @property
    def mixed(self) -> tuple[str, ...]:
        """Rows whose records do not share their settings or their data."""
        return tuple(
            f"{row['method']} on {row['task']}"
            for row in self.rows
            if len({(setting(r, self.declared.drawn), r.data.get("digest")) for r in row.records}) > 1
        )


def _said(d: Difference) -> str:
    value = d.verdict.difference
    return "no shared run" if value is None else words.difference(d.method["metric"], value)


def build(declared: Declaration, records: Sequence[Record], source: str = "records") -> Page:
    """The page of a declaration: only records whose key it asks for are rows.

    Args:
        declared: What was declared.
        records: Any records; latencies among them stand in the rows.
        source: Where they were read.
    """
    rows = build_rows(declared, records)
    found = judge_page(declared, rows)
    ranks = found.ranks
    rows = [replace(r, values={**r.values, "rank_group": ranks.get((r["task"], r["method"]))}) for r in rows]
    latency = {row.latency.key: row.latency for row in rows if row.latency is not None}
    missing = declared.missing(records)
    return Page(
        declared=declared,
        rows=tuple(rows),
        judged=found,
        finding=None if declared.finding is None else filled(declared.finding, found),
        footnotes=tuple(_footnotes(declared, rows, len(missing))),
        records=tuple([r for row in rows for r in row.records] + [latency[k] for k in sorted(latency)]),
        missing=missing,
        source=source,
    )


def _footnotes(declared: Declaration, rows: Sequence[Row], missing: int) -> Iterable[str]:
    runs = [row for row in rows if row.kind == "run"]
    if any(row["selection"] == "best-test" for row in runs):
        yield TEST_SELECTED
    if any(row.records and not row.compared for row in runs):
        yield SHOWN
    if declared.diverged:
        yield f"{words.plural(len(declared.diverged), 'run')} diverged and have no score; those rows are not ranked."
    if missing and not declared.new:
        yield f"{missing} of {words.plural(len(declared.runs), 'run')} are missing."
    short = [f"{row.title} on {declared.task_title(row['task'])}" for row in runs if row.compared and row.too_short]
    if short:
        yield f"Training may be too short: the last epoch was the best too often for {words.some(short)}."
    yield from declared.notes
    if any(row.derived for row in runs):
        yield SCORED_ANEW
    if runs and declared.primary is None:
        yield EXPLORATORY
    revisions = {name for row in rows for name in row.revisions}
    if len(revisions) > 1:
        yield f"The runs come from {len(revisions)} revisions of the code: {', '.join(sorted(revisions))}."

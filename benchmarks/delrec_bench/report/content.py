"""What a page says, before anything is laid out: Markdown and HTML are two forms of one `Page`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from delrec_bench.records import Record
from delrec_bench.report import words
from delrec_bench.report.declared import Declaration
from delrec_bench.report.finding import filled
from delrec_bench.report.judging import Judged, judge_page
from delrec_bench.report.rows import Row, build_rows, setting
from delrec_bench.statistics.verdicts import SHOWN_ONLY

STAMPS = {
    "DRAWN": "inputs drawn at the task's shape and rate, for latency and size alone; no data of the task was used",
    "EMBEDDED": "made by the suite itself or shipped with a library; comparable only with itself",
    "STAND-IN": "a corpus in the layout of the official one; not comparable with published values",
    "OFFICIAL": "the official files, all of them",
    "OFFICIAL SUBSET": "the official files, in part; not comparable with published values",
}
ANSWERS = {
    "better on all": "Better on all tasks",
    "worse on all": "Worse on all tasks",
    "equivalent on all": "Equivalent on all tasks, within the margins",
    "depends on the task": "It depends on the task",
    "inconclusive": "Inconclusive",
}
EXPLORATORY = "Nothing was declared before these runs: every comparison is exploratory."
SHOWN = f"Up to {SHOWN_ONLY} repetitions are shown, without an interval's verdict."
SCORED_ANEW = "Rows under a condition, lesion or deployment are the trained networks of another row, scored once more."
TEST_SELECTED = "NO RESULT: of some rows the test set chose the epoch. This page shows what that gains."


@dataclass(frozen=True)
class Part:
    """A task of a page: its name, the stamp of its data, and what is to be learned."""

    task: str
    stamp: str
    about: str


@dataclass(frozen=True)
class Page:
    """Everything a page shows.

    Attributes:
        declared: What was declared before the runs.
        rows: In order.
        judged: All verdicts.
        finding: The study's own, filled with numbers; None where it has none, or the runs do not support it.
        footnotes: What a reader must know before trusting a row.
        parts: Task by task.
        notes: What the data says of itself.
        records: Every record behind the rows, latency included.
        missing: Keys that lack a record.
        source: Where the records were read.
    """

    declared: Declaration
    rows: tuple[Row, ...]
    judged: Judged
    finding: str | None
    footnotes: tuple[str, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    records: tuple[Record, ...]
    missing: tuple[str, ...]
    source: str

    @property
    def complete(self) -> bool:
        """Whether every run that the study declares is there."""
        return not (self.missing or self.declared.narrowed)

    @property
    def answer(self) -> str | None:
        """The declared comparison over its tasks, in a line; None where there is none."""
        primary, answer = self.declared.primary, self.judged.answer
        if primary is None or answer is None:
            return None
        return f"{ANSWERS[answer]}: {primary.method} against {primary.control}."

    @property
    def tasks(self) -> tuple[str, ...]:
        """In the order of the page."""
        return tuple(part.task for part in self.parts)

    @property
    def stamps(self) -> tuple[str, ...]:
        """All stamps of the page."""
        return tuple(dict.fromkeys(part.stamp for part in self.parts if part.stamp))

    @property
    def revisions(self) -> tuple[str, ...]:
        """Of the code behind the rows."""
        return tuple(sorted({name for row in self.rows for name in row.revisions}))

    def of(self, task: str) -> tuple[Row, ...]:
        """The rows of one task."""
        return tuple(row for row in self.rows if row["task"] == task)

    @property
    def mixed(self) -> tuple[str, ...]:
        """Rows whose records do not share their settings or their data."""
        return tuple(
            f"{row['method']} on {row['task']}"
            for row in self.rows
            if len({setting(r) for r in row.records}) > 1 or len({r.data.get("digest") for r in row.records}) > 1
        )


def build(declared: Declaration, records: Sequence[Record], source: str = "records") -> Page:
    """The page of a declaration: only records whose key it asks for are rows.

    Args:
        declared: What was declared.
        records: Any records; latencies among them stand beside the rows.
        source: Where they were read.
    """
    rows = build_rows(declared, records)
    judged = judge_page(declared, rows)
    ranks = {(task, r.method): r.group for task, of in judged.ranks.items() for r in of}
    rows = [replace(r, values={**r.values, "rank_group": ranks.get((r["task"], r["method"]))}) for r in rows]
    latency = {row.latency.key: row.latency for row in rows if row.latency is not None}
    missing = declared.missing(records)
    return Page(
        declared=declared,
        rows=tuple(rows),
        judged=judged,
        finding=None if declared.finding is None else filled(declared.finding, judged),
        footnotes=tuple(_footnotes(declared, rows, len(missing))),
        parts=tuple(_part(declared, rows, task) for task in dict.fromkeys(row["task"] for row in rows)),
        notes=tuple(dict.fromkeys(_data_notes(rows))),
        records=tuple([r for row in rows for r in row.records] + [latency[k] for k in sorted(latency)]),
        missing=missing,
        source=source,
    )


def _footnotes(declared: Declaration, rows: Sequence[Row], missing: int) -> Iterable[str]:
    runs = [row for row in rows if row.kind == "run"]
    if missing:
        yield f"Not complete: {missing} of {words.plural(len(declared.runs), 'run')} are not there."
    if declared.diverged:
        yield f"Runs that diverged and have no score: {len(declared.diverged)}. Rows that lost runs are not ranked."
    revisions = {name for row in rows for name in row.revisions}
    if len(revisions) > 1:
        yield f"The runs come from {len(revisions)} revisions of the code: {', '.join(sorted(revisions))}."
    if any(row["selection"] == "best-test" for row in runs):
        yield TEST_SELECTED
    if any(row.derived for row in runs):
        yield SCORED_ANEW
    if runs and declared.primary is None:
        yield EXPLORATORY
    if any(0 < row["n"] <= SHOWN_ONLY for row in runs):
        yield SHOWN
    short = [f"{row['method']} on {row['task']}" for row in runs if row["n"] > SHOWN_ONLY and row.too_short]
    if short:
        some = ", ".join(short[:4]) + (f" and {len(short) - 4} more" if len(short) > 4 else "")
        yield f"The last epoch was the best more often than chance allows, so longer training may help: {some}."
    yield from declared.notes


def _part(declared: Declaration, rows: Sequence[Row], task: str) -> Part:
    stamps = [str(row["data"]) for row in rows if row["task"] == task and row["data"]]
    stamp = next((s for s in stamps if "SUBSET" in s), stamps[0] if stamps else "")
    about = declared.summaries.get(task.partition(":")[0], "")
    return Part(task, stamp, f"other data, in the layout of: {about}" if about and stamp == "STAND-IN" else about)


def _data_notes(rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        for record in row.records:
            notes = record.data.get("notes") or []
            yield from (f"{row['task']}: {note}" for note in ([notes] if isinstance(notes, str) else notes))
            dropped = record.data.get("dropped_events")
            if dropped:
                yield f"{row['task']}: {words.count(dropped)} events after the last step were dropped."

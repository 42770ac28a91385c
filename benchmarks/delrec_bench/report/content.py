"""What a page says, before anything is laid out: Markdown and HTML are two forms of one `Page`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from delrec_bench.records import Record
from delrec_bench.report import words
from delrec_bench.report.amounts import amount_of, amount_used
from delrec_bench.report.declared import Contrast, Declaration, Primary
from delrec_bench.report.judging import COUNTS, Difference, Judged, judge_page
from delrec_bench.report.reservations import reservations
from delrec_bench.report.rows import Row, build_rows, setting
from delrec_bench.statistics import conditions
from delrec_bench.statistics import sentences as say
from delrec_bench.statistics.sentences import listed
from delrec_bench.statistics.verdicts import POOLED, SHOWN_ONLY, Verdict

STAMPS = {
    "DRAWN": "inputs drawn at the task's shape and rate, for latency and size alone; no data of the task was used",
    "EMBEDDED": "made by the suite itself or shipped with a library; comparable only with itself",
    "STAND-IN": "a corpus in the layout of the official one; not comparable with published values",
    "OFFICIAL": "the official files, all of them",
    "OFFICIAL SUBSET": "the official files, in part; not comparable with published values",
}


@dataclass(frozen=True)
class Part:
    """What is said of one task.

    Attributes:
        task, stamp: Its name, and that of its data.
        used: What is to be learned; how much of the data and how many epochs, for each amount that rows differ in.
        findings: The declared hypothesis here, who may be first, who is below a floor.
    """

    task: str
    stamp: str
    used: tuple[str, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """Everything a page shows.

    Attributes:
        declared: What was declared before the runs.
        rows: In order.
        judged: All verdicts.
        answer: Sentences that answer the page's question, the verdict first.
        reservations: What a reader must know before trusting a row.
        parts: Task by task.
        notes: What the data says of itself.
        records: Every record behind the rows, latency included.
        missing: Keys that lack a record.
        source: "records" or "mlflow".
    """

    declared: Declaration
    rows: tuple[Row, ...]
    judged: Judged
    answer: tuple[str, ...]
    reservations: tuple[str, ...]
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
        source: Where they were read: "records" or "mlflow".
    """
    rows = build_rows(declared, records)
    judged = judge_page(declared, rows)
    ranks = {(task, r.method): r.group for task, of in judged.ranks.items() for r in of}
    rows = [replace(r, values={**r.values, "rank_group": ranks.get((r["task"], r["method"]))}) for r in rows]
    tasks = tuple(dict.fromkeys(row["task"] for row in rows))
    latency = {row.latency.key: row.latency for row in rows if row.latency is not None}
    missing = declared.missing(records)
    return Page(
        declared=declared,
        rows=tuple(rows),
        judged=judged,
        answer=tuple(_answer(declared, rows, judged)),
        reservations=tuple(reservations(declared, rows, missing)),
        parts=tuple(_part(declared, task, [r for r in rows if r["task"] == task], judged) for task in tasks),
        notes=tuple(dict.fromkeys(_data_notes(rows))),
        records=tuple([r for row in rows for r in row.records] + [latency[k] for k in sorted(latency)]),
        missing=missing,
        source=source,
    )


def _answer(declared: Declaration, rows: Sequence[Row], judged: Judged) -> Iterable[str]:
    scored = [row for row in rows if row.records]
    if not scored:
        tasks, methods = (list(dict.fromkeys(row[name] for row in rows)) for name in ("task", "method"))
        yield conditions.without_scores(tasks, len(methods))
        return
    primary = declared.primary
    if primary is None:
        yield conditions.NO_PRIMARY
    elif judged.primary is None:
        of = judged.of((primary.method, primary.control))
        yield conditions.not_judged(primary.method, primary.control, _lacking(declared, bool(of)))
    else:
        yield from _of_primary(judged, judged.primary, primary)
    for contrast in declared.contrasts:
        yield from _of_contrast(judged, contrast)
    if primary is not None and judged.primary is not None:
        yield from _foretold(judged, judged.primary, (primary.method, primary.control))
    asked = None if primary is None else (primary.method, primary.control)
    own = [d for d in judged.differences if d.method.control == d.control["method"]]
    rest = [d for d in own if (d.method["method"], d.control["method"]) != asked]
    for metric in dict.fromkeys(d.method["metric"] for d in rest):
        verdicts = [d.verdict for d in rest if d.method["metric"] == metric]
        told = say.tally(verdicts, words.show(metric))
        if told:
            but = ", the declared hypothesis apart" if len(rest) < len(own) else ""
            yield f"Each method against its own control{but}, {words.label(metric)}, {say.EXPLORATORY}. {told}"


def _lacking(declared: Declaration, there: bool) -> str:
    """Why the declared hypothesis has no verdict."""
    assert declared.primary is not None
    lost = {declared.runs[failure.key].method for failure in declared.diverged}
    if lost & {declared.primary.method, declared.primary.control}:
        return "its runs diverged"
    return "too few runs" if there else "its runs are not there"


def _of_primary(judged: Judged, verdict: Verdict, primary: Primary) -> Iterable[str]:
    pair = (primary.method, primary.control)
    differences = [d for d in judged.of(pair) if primary.covers(d.method["task"])]
    row, control = differences[0].method, differences[0].control
    show = words.show(row["metric"])
    if verdict.task == POOLED and row.delays == "learned" and control.delays == "fixed":
        yield str(say.answer(verdict, f"{say.LEARNING} of {row['method']}", _fixed(differences)))
    else:
        yield say.finding(verdict, *pair, show)
    if verdict.task != POOLED:
        for d in differences:
            if d.verdict is verdict and d.wide is not None and (alone := say.this_test_set(verdict, d.wide, show)):
                yield alone
        return
    pooled = judged.pooled[pair][1]
    if told := say.not_pooled([d.verdict.task for d in differences], pooled):
        yield told
    if not verdict.reason and (told := say.tasks_differ(verdict, pooled)):
        yield told
    if told := _by_task(judged, pair):
        yield told


def _foretold(judged: Judged, verdict: Verdict, pair: tuple[str, str]) -> Iterable[str]:
    """What is to be expected of a further task; what cannot be judged foretells nothing."""
    if verdict.task == POOLED and not verdict.reason and (told := say.further_task(judged.pooled[pair][1])):
        yield told


def _by_task(judged: Judged, pair: tuple[str, str]) -> str | None:
    """How a pooled pair fell on the tasks that were pooled; with its difference where that is within the margin."""
    over = [d for d in judged.of(pair) if d.verdict.task in dict(judged.pooled[pair][1].weights)]
    shown = {d.verdict.task: words.show(d.method["metric"])(d.verdict.difference or 0.0) for d in over}

    def told(v: Verdict) -> str:
        return f"{v.task} ({shown[v.task]})" if v.verdict == "equivalent" else v.task

    return say.by_task([d.verdict for d in over], *pair, told)


def _of_contrast(judged: Judged, contrast: Contrast) -> Iterable[str]:
    """A further comparison that the study asks for, pooled, or where that cannot be task by task; exploratory."""
    pair = (contrast.method, contrast.control)
    of = judged.of(pair)
    for verdict in [judged.pooled[pair][0]] if pair in judged.pooled else [d.verdict for d in of]:
        metric = next(d.method["metric"] for d in of if verdict.task in (POOLED, d.verdict.task))
        finding = say.finding(verdict, *pair, words.show(metric))
        yield f"{contrast.about}: {finding[0].lower()}{finding[1:]}"
    if pair in judged.pooled and (told := _by_task(judged, pair)):
        yield told


def _on_task(declared: Declaration, task: str, judged: Judged) -> Iterable[str]:
    """The declared hypothesis on one task, where it is not itself the page's answer."""
    for d in judged.differences:
        primary = declared.primary
        if primary is None or d.verdict.task != task or d.verdict is judged.primary:
            continue
        if (d.method["method"], d.control["method"]) != (primary.method, primary.control):
            continue
        show = words.show(d.method["metric"])
        yield say.finding(d.verdict, primary.method, primary.control, show)
        if d.wide is not None and (alone := say.this_test_set(d.verdict, d.wide, show)):
            yield alone


def _fixed(differences: Sequence[Difference]) -> str:
    """What the control is on all tasks: the very same delays only where that holds on each."""
    told = {
        conditions.fixed_delays(
            (d.method.widths, d.control.widths),
            (d.method["parameters_delays"] or 0, d.control["parameters_delays"] or 0),
            (d.method.sigma, d.control.sigma),
        )
        for d in differences
    }
    if len(told) == 1:
        return told.pop()
    same = all(text.startswith(conditions.SAME_DELAYS) for text in told)
    return f"{conditions.SAME_DELAYS}, with another sigma" if same else "fixed delays in networks of their own sizes"


def _part(declared: Declaration, task: str, rows: Sequence[Row], judged: Judged) -> Part:
    used: dict[str, list[str]] = {}
    for row in rows:
        if row.kind == "run" and row.records[0].data.get("sizes"):
            used.setdefault(amount_used(amount_of(row.records[0])), []).append(row["method"])
    about = declared.summaries.get(task.partition(":")[0])
    if about and any(row["data"] == "STAND-IN" for row in rows):
        about = f"other data, in the layout of: {about}"
    told = [about[0].upper() + about[1:]] if about else []
    told += [text if len(used) == 1 else f"{listed(methods)}: {text}" for text, methods in used.items()]
    compared = max((row["n"] for row in rows if row.kind == "run"), default=0) > SHOWN_ONLY
    findings = [*_on_task(declared, task, judged), say.leaders(task, judged.ranks[task]) if compared else None]
    floors = [row for row in rows if row.kind == "floor"]
    for row in rows:
        against = judged.floors.get((task, row["method"]), {})
        if COUNTS in against:
            findings.append(say.without_time(row["method"], against[COUNTS]))
    if floors:
        best = floors[0]["method"]  # rows come best first
        against = {m: of[best] for (t, m), of in judged.floors.items() if t == task and best in of}
        findings.append(say.below_floor(best, against))
    stamps = [str(row["data"]) for row in rows if row["data"]]
    stamp = next((s for s in stamps if "SUBSET" in s), stamps[0] if stamps else "")
    return Part(task, stamp, tuple(told), tuple(dict.fromkeys(f for f in findings if f)))


def _data_notes(rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        for record in row.records:
            notes = record.data.get("notes") or []
            yield from (f"{row['task']}: {note}" for note in ([notes] if isinstance(notes, str) else notes))
            dropped = record.data.get("dropped_events")
            if dropped:
                yield f"{row['task']}: {words.count(dropped)} events after the last step were dropped."

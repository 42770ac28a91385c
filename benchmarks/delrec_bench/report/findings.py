"""What the records say, in numbers and in words, before anything is laid out: one object that every writer reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from delrec_bench.metrics import metric_named
from delrec_bench.records import Record
from delrec_bench.report import words
from delrec_bench.report.rows import Row, build_rows, choose
from delrec_bench.statistics import SHOWN_ONLY, Comparison, compare_family


@dataclass(frozen=True)
class Findings:
    """Everything a page, a table or a figure shows.

    Attributes:
        rows: the leaderboard, in order.
        comparisons: each method against its own control.
        headline: sentences that say what is resolved and what is not.
        warnings: what a reader must know before trusting a row.
        notes: records left out, events dropped, and what the data says of itself.
        records: all records behind the rows, latency included.
    """

    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    headline: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    records: tuple[Record, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks in the order of the page."""
        return tuple(dict.fromkeys(row["task"] for row in self.rows))

    def of(self, task: str) -> tuple[Row, ...]:
        """The rows of one task."""
        return tuple(row for row in self.rows if row["task"] == task)

    def stamp(self, task: str) -> str:
        """EMBEDDED, STAND-IN or OFFICIAL."""
        return str(self.of(task)[0]["data"])

    @property
    def stamps(self) -> tuple[str, ...]:
        """All stamps of the page."""
        return tuple(dict.fromkeys(str(row["data"]) for row in self.rows))


def find(records: Sequence[Record], profile: str | None = None) -> Findings:
    """The findings of a list of records, wherever they came from."""
    chosen = choose(records, profile)
    rows = build_rows(chosen)
    comparisons = compare_family([r for group in chosen.groups for r in group])
    latency = {row.latency.key: row.latency for row in rows if row.latency is not None}
    behind = [r for row in rows for r in row.records] + [latency[k] for k in sorted(latency)]
    return Findings(
        rows=tuple(rows),
        comparisons=tuple(comparisons),
        headline=tuple(_headline(rows, comparisons)),
        warnings=tuple(_warnings(rows)),
        notes=tuple(dict.fromkeys([*chosen.notes, *_data_notes(rows)])),
        records=tuple(behind),
    )


def best_floor(rows: Sequence[Row]) -> Row | None:
    """The better of a task's method-free floors."""
    floors = [row for row in rows if row.kind == "floor"]
    return floors[0] if floors else None  # rows come best first


def below_floor(rows: Sequence[Row]) -> list[Row]:
    """The methods of one task whose mean is worse than its best method-free floor."""
    floor = best_floor(rows)
    if floor is None:
        return []
    better = metric_named(floor["metric"]).better
    return [r for r in rows if r.kind == "run" and better(floor["score_mean"], r["score_mean"])]


def _headline(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> list[str]:
    if not rows:
        return ["There is no record yet: nothing can be said."]
    out = [_learning(comparisons), _others(comparisons), _floors(rows)]
    most = max((c.n for c in comparisons), default=0)
    if 0 < most <= SHOWN_ONLY:
        out.append(
            f"With {words.plural(most, 'repetition')} a method, a 95 percent interval is wide (2.48 standard "
            "deviations either way at three): every repetition is shown, and small differences stay open."
        )
    return [text.strip() for text in out if text]


def _learning(comparisons: Sequence[Comparison]) -> str:
    """Does learning a delay help, against the same network with its delays left as they were drawn?"""
    pairs = [c for c in comparisons if c.control.endswith("-fixed")]
    if not pairs:
        return ""
    text = f"Does learning the delays help, against the same delays left fixed? {_tally(pairs)}"
    return text + _named(pairs)


def _others(comparisons: Sequence[Comparison]) -> str:
    pairs = [c for c in comparisons if not c.control.endswith("-fixed")]
    if not pairs:
        return ""
    return f"Against their other controls (no delay, plain recurrence): {_tally(pairs)}" + _named(pairs)


def _tally(pairs: Sequence[Comparison]) -> str:
    total = len(pairs)
    counts = {v: sum(c.verdict == v for c in pairs) for v in ("better", "worse", "not resolved")}
    said = [f"{verdict} in {n}" for verdict, n in counts.items() if n]
    if counts["not resolved"] == total:
        return f"Not resolved in {'the one comparison' if total == 1 else f'any of {total} comparisons'}. "
    return f"Of {words.plural(total, 'comparison')}: {words.listed(said)}. "


_FEW = 3  # comparisons that are told with their intervals; of more the mean alone, and the table has the rest


def _named(pairs: Sequence[Comparison]) -> str:
    out = []
    for verdict in ("better", "worse"):
        named: dict[tuple[str, str], list[Comparison]] = {}
        for c in pairs:
            if c.verdict == verdict:
                named.setdefault((c.method, c.control), []).append(c)
        tell = words.sentence if sum(map(len, named.values())) <= _FEW else words.brief
        told = [f"{m} over {c} ({'; '.join(map(tell, found))})" for (m, c), found in named.items()]
        if told:
            out.append(f"{verdict.capitalize()}: {', '.join(told)}.")
    return " ".join(out)


def _floors(rows: Sequence[Row]) -> str:
    out = []
    for task in dict.fromkeys(row["task"] for row in rows):
        of_task = [row for row in rows if row["task"] == task]
        floor = best_floor(of_task)
        methods = [row for row in of_task if row.kind == "run"]
        if floor is None or not methods:
            continue
        value = words.score(floor["metric"], floor["score_mean"])
        low = len(below_floor(of_task))
        fate = "no method is" if low == 0 else f"{low} of {words.plural(len(methods), 'method')} {_is(low)}"
        out.append(f"on {task} {fate} worse than {floor['method']} ({value})")
    return f"Measured by what needs no spiking network at all: {'; '.join(out)}." if out else ""


def _is(n: int) -> str:
    return "is" if n == 1 else "are"


def _warnings(rows: Sequence[Row]) -> list[str]:
    out = []
    for task in dict.fromkeys(row["task"] for row in rows):
        of_task = [row for row in rows if row["task"] == task]
        out += _origins(task, of_task)
        low, floor = below_floor(of_task), best_floor(of_task)
        if low and floor:
            out.append(
                f"{task}: {words.listed([row['method'] for row in low])} {_is(len(low))} worse than the "
                f"method-free floor {floor['method']} "
                f"({words.score(floor['metric'], floor['score_mean'])}): no evidence of using time."
            )
        out += _unequal(task, [row for row in of_task if row.kind == "run"])
    return out


def _origins(task: str, rows: Sequence[Row]) -> list[str]:
    """Rows whose records do not come from one known state of the code."""

    def versions(row: Row) -> set[str]:
        return {str(r.provenance.get("results_version", "unknown")) for r in row.records}

    mixed: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if mixes_revisions(row):
            mixed.setdefault(row.revisions, []).append(row["method"])
    dirty = [row["method"] for row in rows if any(name.endswith("+dirty") for name in row.revisions)]
    other = [row["method"] for row in rows if len(versions(row)) > 1]
    out = []
    for revisions, methods in mixed.items():
        out.append(f"{task}: records mix code revisions {words.listed(list(revisions))} in {words.listed(methods)}.")
    if dirty:
        out.append(f"{task}: made with uncommitted changes: {words.listed(dirty)}.")
    if other:
        out.append(f"{task}: records mix results versions in {words.listed(other)}.")
    return out


def mixes_revisions(row: Row) -> bool:
    """Whether the records of a row were made by more than one revision of the code."""
    return len(row.revisions) > 1


def _unequal(task: str, rows: Sequence[Row]) -> list[str]:
    """Rows of one task that do not stand on equal footing."""
    out = []
    for name in ("step_ms", "steps", "representation", "augmentation", "data_digest", "selection", "n"):
        values = {str(row[name]) for row in rows if row[name] is not None}
        if len(values) > 1:
            shown = sorted(values) if name != "data_digest" else sorted(v[:8] for v in values)
            out.append(f"{task}: rows differ in {name.replace('_', ' ')} ({words.listed(shown)}).")
    trials = {record.search["trials"] if record.search else 0 for row in rows for record in row.records}
    if len(trials) > 1:
        out.append(f"{task}: rows differ in trials of their search ({words.listed([str(n) for n in sorted(trials)])}).")
    return out


def _data_notes(rows: Sequence[Row]) -> list[str]:
    out = []
    for row in rows:
        for record in row.records:
            notes = record.data.get("notes") or []
            out += [f"{row['task']}: {note}" for note in ([notes] if isinstance(notes, str) else notes)]
            dropped = record.data.get("dropped_events")
            if dropped:
                out.append(f"{row['task']}: {words.count(dropped)} events after the last step were dropped.")
    return out

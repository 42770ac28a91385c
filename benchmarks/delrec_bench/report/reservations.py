"""What a reader must know before trusting a row: what is lacking, how it was chosen, on which footing rows stand."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from delrec_bench.report import words
from delrec_bench.report.declared import Declaration, error_of
from delrec_bench.report.rows import Row, revision
from delrec_bench.statistics import conditions
from delrec_bench.statistics.sentences import listed
from delrec_bench.statistics.verdicts import SHOWN_ONLY

_FOOTING = ("step_ms", "steps", "representation", "augmentation", "data_digest", "selection", "n", "host")


def reservations(declared: Declaration, rows: Sequence[Row], missing: Sequence[str]) -> Iterable[str]:
    """What stands under "Read first".

    Args:
        declared: What was declared.
        rows: In order.
        missing: Keys that lack a record.
    """
    if declared.narrowed:
        yield conditions.narrowed(declared.narrowed)
    runs_asked = len(declared.runs)
    lacking = list(dict.fromkeys(declared.runs[key].method for key in missing))
    if told := conditions.incomplete(runs_asked - len(missing), runs_asked, lacking):
        yield told
    yield from _diverged(declared, rows, set(missing))
    if told := conditions.revisions(sorted({name for row in rows for name in row.revisions})):
        yield told
    if any(row.kind == "run" for row in rows):
        selected = dict.fromkeys(row["method"] for row in rows if row["selection"] == "best-test")
        yield (
            conditions.test_selected(list(selected))
            if selected
            else conditions.scored_once(declared.chosen_on, declared.by_hand)
        )
        if any(row.derived for row in rows):
            yield conditions.SCORED_ANEW
    yield from declared.notes
    yield from _timed(rows)
    if told := conditions.best_at_the_end(list(_trained(rows))):
        yield told
    most: dict[int, list[str]] = {}
    for task in dict.fromkeys(row["task"] for row in rows if row.kind == "run"):
        most.setdefault(max(r["n"] for r in rows if r["task"] == task and r.kind == "run"), []).append(task)
    yield from filter(None, (conditions.shown_only(tasks, n, SHOWN_ONLY) for n, tasks in most.items()))
    sizes: dict[str, list[str]] = {}
    for task in dict.fromkeys(row["task"] for row in rows if row.kind == "run"):
        if told := _parameters([row for row in rows if row["task"] == task and row.kind == "run"]):
            sizes.setdefault(told, []).append(task)
    yield from (f"On {listed(tasks)}: {told}." for told, tasks in sizes.items())
    for task in dict.fromkeys(row["task"] for row in rows):
        runs = [row for row in rows if row["task"] == task and row.kind == "run"]
        if told := _coarse_margin(declared, task, [r for r in rows if r["task"] == task and r.records]):
            yield told
        if told := _at_chance(task, runs):
            yield told
        for name in _FOOTING:
            values = sorted({str(row[name])[:40] for row in runs if row[name] is not None})
            if told := conditions.differing(task, name.removesuffix("_ms").replace("_", " "), values):
                yield told
        if told := _without_place(task, runs):
            yield told


def _diverged(declared: Declaration, rows: Sequence[Row], missing: Collection[str]) -> Iterable[str]:
    """How many runs that were trained diverged, and of which rows; networks that are scored anew count once."""
    untrained = {row["method"] for row in rows if row.kind == "floor" or row.derived}
    trained = {key: run.method for key, run in declared.runs.items() if key not in missing}
    had = Counter(method for method in trained.values() if method not in untrained)
    lost = Counter(m for failure in declared.diverged if (m := declared.runs[failure.key].method) not in untrained)
    if told := conditions.diverged({row: (n, had[row]) for row, n in lost.items()}, sum(had.values())):
        yield told


def _without_place(task: str, runs: Sequence[Row]) -> str | None:
    """Which rows of a task are not ranked though others are."""
    few = [row["method"] for row in runs if row["rank_group"] is None and row["n"] <= SHOWN_ONLY]
    return conditions.without_place(task, few, SHOWN_ONLY)


def _timed(rows: Sequence[Row]) -> Iterable[str]:
    """What the latencies of a page are of."""
    timed = [(row["task"], row["method"], row.latency) for row in rows if row.latency is not None]
    if not timed:
        return
    records = [record for _, _, record in timed]
    batches: dict[int, dict[str, list[str]]] = {}
    loops: dict[str, list[str]] = {}
    for task, method, record in timed:
        if size := record.result.get("batch"):
            batches.setdefault(int(size), {}).setdefault(method, []).append(task)
        if "reference" in (record.result.get("engines") or {}).get("train", record.engine):
            loops.setdefault(method, []).append(task)

    def named(of: Mapping[str, Sequence[str]]) -> list[str]:
        if len(of) > conditions.MOST_NAMED:
            tasks = dict.fromkeys(task for tasks in of.values() for task in tasks)
            return [f"{len(of)} methods ({listed(list(tasks))})"]
        return [f"{method} ({listed(list(tasks))})" for method, tasks in of.items()]

    yield conditions.timed(
        sorted({int(n) for record in records if (n := record.result.get("threads"))}),
        sorted({revision(record) for record in records}),
        {size: named(of) for size, of in sorted(batches.items(), key=lambda item: -sum(map(len, item[1].values())))},
        named(loops),
        all(record.data["kind"] == "DRAWN" for record in records),
    )


def _at_chance(task: str, runs: Sequence[Row]) -> str | None:
    """Whose interval reaches down to the share of the most frequent class, where several are to be told apart."""
    first = next((r.targets for row in runs for r in row.records[:1] if r.metric == "accuracy" and r.targets), None)
    if first is None:
        return None
    share = float(np.unique(first.array, return_counts=True)[1].max()) / len(first.array)
    # repetitions that are all alike have no interval
    reach = {row["method"]: row["score_mean"] if row["score_sd"] == 0 else row["score_low"] for row in runs}
    low = [method for method, down_to in reach.items() if down_to is not None and down_to <= share + 1e-9 < 1]
    return conditions.at_chance(task, low, share)


def _parameters(runs: Sequence[Row]) -> str | None:
    """How many parameters the rows of a task have, where they share a budget."""
    budgets = {int(r.configuration.get("budget") or 0) for row in runs for r in row.records} - {0}
    counts = {row["method"]: row["parameters_total"] for row in runs if row["parameters_total"]}
    return conditions.parameters(counts, budgets.pop()) if len(budgets) == 1 and counts else None


def _trained(rows: Sequence[Row]) -> Iterable[tuple[str, int, list[float]]]:
    """(task, epochs, share of each row's runs whose last epoch was the best)."""
    shares: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        chosen = row["selection"] == "validation"  # an epoch that is taken because it is the last says nothing
        if row.kind == "run" and chosen and not row.derived and row.last_best is not None:
            shares.setdefault((row["task"], len(row.records[0].history)), []).append(row.last_best)
    yield from ((task, epochs, of) for (task, epochs), of in shares.items())


def _coarse_margin(declared: Declaration, task: str, rows: Sequence[Row]) -> str | None:
    """Whether a task's margin is a large part of the error of the primary's control; without one, of the best row."""
    runs, margin = [row for row in rows if row.kind == "run"], declared.margin(task)
    if margin is None or not runs:
        return None
    asked = declared.primary.control if declared.primary is not None else None
    row = next((r for r in runs if r["method"] == asked), runs[0])
    error = error_of(row["metric"], row["score_mean"])
    if error is None:
        return None
    return conditions.coarse_margin(task, words.show(row["metric"])(margin), margin, row["method"], error)

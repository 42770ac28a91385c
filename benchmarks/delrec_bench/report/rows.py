"""From a page's records to its rows: a task and a method, in the columns of the page's csv."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from scipy.stats import binom

from delrec_bench.metrics import metric_named
from delrec_bench.metrics.metric import Metric
from delrec_bench.records import DATA_KINDS, Asked, Failure, Record, canonical_json
from delrec_bench.records.results import activity
from delrec_bench.report import words
from delrec_bench.report.declared import Declaration, Expected
from delrec_bench.report.published import published_for
from delrec_bench.statistics.paired import paired
from delrec_bench.statistics.verdicts import SHOWN_ONLY

MODES = ("train", "infer", "batch1")
COLUMNS = (
    *("task", "data", "method", "learned", "metric", "n", "score_mean", "score_sd", "score_low", "score_high"),
    *("lost", "rank_group", "selection"),
    *("parameters_total", "parameters_weights", "parameters_delays", "parameters_neuron"),
    *(name for m in MODES for name in (f"latency_{m}_ms", f"latency_{m}_ms_iqr", f"latency_{m}_ratio")),
    *("spikes_per_neuron_step", "synaptic_operations", "delay_buffer", "step_ms", "steps", "representation"),
    *("augmentation", "engine", "device", "host", "code_revision", "data_digest"),
    *("published_score", "published_source", "published_selection", "command"),
)
"""The columns of a page's csv. Scores are fractions (or NMSE, where `metric` says so); missing is empty."""


@dataclass(frozen=True)
class Row:
    """One (task, method) of a page."""

    kind: str  # "run", "floor", or "empty" for a row without runs
    values: Mapping[str, Any]  # by name of `COLUMNS`; None is missing
    asked: Expected
    records: tuple[Record, ...] = ()  # its runs, by repetition
    latency: Record | None = None  # the measurement that belongs to it
    diverged: tuple[Failure, ...] = ()  # its runs without a score, since their training left the finite numbers

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def title(self) -> str:
        """What people call it."""
        return self.asked.title or self.asked.method

    @property
    def metric(self) -> Metric:
        """That of its score."""
        return metric_named(self["metric"])

    @property
    def scores(self) -> dict[int, float]:
        """Repetition -> score."""
        return {r.repetition: r.score for r in self.records}

    @property
    def compared(self) -> bool:
        """Whether it has enough repetitions for an interval and a verdict."""
        return len(self.records) > SHOWN_ONLY

    @property
    def ends(self) -> tuple[Any, Any]:
        """The ends of the 95 percent interval of its score; of few runs those of their range."""
        if not self.records or self.compared:
            return self["score_low"], self["score_high"]
        return min(self.scores.values()), max(self.scores.values())

    @property
    def resolution(self) -> float:
        """The smallest step of a score: 1 / test samples where it is a share of them, else 0."""
        return max((1 / r.result["total"] for r in self.records if self.metric.classifies), default=0.0)

    @property
    def counts(self) -> Mapping[str, Any]:
        """Its counts of parameters; empty without a network."""
        source = self.records[0] if self.records else self.latency
        return source.parameters if source else {}

    @property
    def delays(self) -> str:
        """Whether the delays are "learned", "fixed" (there, but not trained) or there are "none"."""
        if self.counts.get("learned_delays"):
            return "learned"
        return "fixed" if (self.counts.get("delays") or 0) > (self.counts.get("spreads") or 0) else "none"

    @property
    def trainable(self) -> int | None:
        """How many parameters are trained; of a row without a network None."""
        return self.counts.get("trainable") or self.counts.get("total")


def too_short(rows: Iterable[Row]) -> str:
    """In how many runs the last epoch beat every other, if chance hardly allows that (binomial, 5 percent)."""
    lengths, last = [], 0
    for row, record in ((of, record) for of in rows for record in of.records):
        name = f"valid_{record.metric}"
        curve = [row.metric.rank(entry[name]) for entry in record.history if name in entry]
        if len(curve) > 1 and record.result.get("selection") == "validation":
            lengths.append(len(curve))
            last += curve[-1] < min(curve[:-1])
    unlikely = lengths and binom.sf(last - 1, len(lengths), 1 / min(lengths)) < 0.05
    return f"{last} of {words.plural(len(lengths), 'run')}" if unlikely else ""


def revision(record: Asked) -> str:
    """Short revision of the code that made the record, marked where the tree was dirty; "unknown" if not recorded."""
    name = str(record.provenance.get("revision") or "unknown")[:12]
    return name + ("+dirty" if record.provenance.get("dirty") else "")


def build_rows(declared: Declaration, records: Sequence[Record]) -> list[Row]:
    """The rows of a page, task by task: official data first, methods from best to worst, then floors.

    Rows of which every run diverged are shown too; where a study is not scored, and on the board, all without runs.
    """
    found = {r.key: r for r in records if r.kind in ("run", "floor") and r.key in declared.runs}
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in sorted(found.values(), key=lambda r: (r.task, r.method, r.repetition, r.key)):
        groups.setdefault((record.task, declared.runs[record.key].method), []).append(record)
    latency = comparable([r for r in records if r.kind == "latency"])
    rows = [_row(declared, task, declared.runs[of[0].key], of, latency) for (task, _), of in groups.items()]
    empty = {(e.task, e.method): e for e in declared.runs.values() if not declared.study.scored}
    empty |= {(f.task, e.method): e for f in declared.diverged for e in (declared.runs[f.key],)}
    rows += [_row(declared, task, empty[task, name], [], latency) for task, name in empty.keys() - groups.keys()]
    kinds = {row["task"]: row["data"] for row in rows if row["data"]}

    def order(row: Row) -> tuple[Any, ...]:
        kind = -DATA_KINDS.index(str(kinds.get(row["task"], "OFFICIAL")).split()[0])
        rank = row.metric.rank(row["score_mean"]) if row.records else 0.0
        return kind, row["task"], ("run", "empty", "floor").index(row.kind), rank, row["method"]

    return sorted(rows, key=order)


def comparable(records: Iterable[Record]) -> Collection[Record]:
    """The latencies that were measured alike: same host, device and threads; of several the newest of the largest.

    A newer measurement never stands in for one made elsewhere.
    """
    alike: dict[tuple[Any, ...], dict[tuple[str, str, str], Record]] = {}
    for r in sorted(records, key=lambda r: (r.finished, r.key)):
        place = r.measured.get("host"), r.device, r.configuration.get("threads")
        alike.setdefault(place, {})[r.task, r.method, canonical_json(r.configuration.get("network"))] = r
    return max(alike.values(), key=lambda of: (len(of), max(r.finished for r in of.values())), default={}).values()


def _row(declared: Declaration, task: str, asked: Expected, group: list[Record], latency: Iterable[Record]) -> Row:
    # the latency of the very network of the runs, or of the budget that is asked for
    which, value = ("network", group[0].configuration.get("network")) if group else ("budget", asked.budget)
    alike = [r for r in latency if (r.task, r.method, r.configuration.get(which)) == (task, asked.base, value)]
    measured = alike[-1] if alike else None
    of = group or ([measured] if measured else [])
    lost = [f for f in declared.diverged if (f.task, declared.runs[f.key].method) == (task, asked.method)]
    lost.sort(key=lambda failure: failure.repetition)
    commands = [one.command for one in group or lost] or [asked.command]
    values: dict[str, Any] = dict.fromkeys(COLUMNS) | {
        "task": task,
        "data": str(group[0].data.get("stamp") or group[0].data["kind"]) if group else None,  # a latency uses no data
        "method": asked.method,
        "n": len(group),
        "lost": len(lost) / (len(group) + len(lost)) if group or lost else None,
        "command": one_command(command + asked.given for command in commands if command),
    }
    for source in of[:1]:
        values |= {"learned": source.learned or None, "metric": source.metric, "data_digest": source.data.get("digest")}
        # pixels have no duration: a step of 0 ms is none
        values |= {n: source.data.get(n) or None for n in ("step_ms", "steps", "representation", "augmentation")}
        values |= {f"parameters_{k}": source.parameters.get(k) for k in ("total", "weights", "delays", "neuron")}
    told: dict[str, list[Any]] = {
        "selection": [r.result.get("selection") for r in group],
        "engine": [r.engine for r in of],
        "device": [r.device for r in of],
        "host": [r.measured.get("host") for r in of],
        "code_revision": [revision(one) for one in [*group, *lost] or of],
    }
    for name, texts in told.items():  # a host has blanks of its own
        values[name] = ("; " if name == "host" else " ").join(dict.fromkeys(filter(None, texts))) or None
    if group:
        values |= _scores(group)
    published = published_for(task, values["data"], asked.base)
    if published and not (of and "evaluation" in of[0].configuration):
        values["metric"] = values["metric"] or published.metric
        named = {"score": published.value, "source": published.source, "selection": published.selection or None}
        values |= {f"published_{name}": value for name, value in named.items()}
    times = measured.result if measured else {}
    for mode in MODES:
        spread = times.get(f"{mode}_ms_iqr")
        values |= {f"latency_{mode}_{what}": times.get(f"{mode}_{what}") for what in ("ms", "ratio")}
        values[f"latency_{mode}_ms_iqr"] = spread[1] - spread[0] if spread else None
    return Row(group[0].kind if group else "empty", values, asked, tuple(group), measured, tuple(lost))


def _scores(group: Sequence[Record]) -> dict[str, float | None]:
    """Mean, spread and interval of the scores of runs, and the means of what they counted, alike in every Python."""
    metric, scores = metric_named(group[0].metric), [r.score for r in group]
    estimate = paired(scores, [0.0] * len(scores))
    values: dict[str, float | None] = {"score_mean": fmean(scores), "score_sd": estimate.sd}
    if len(group) > SHOWN_ONLY and estimate.low is not None and estimate.high is not None:
        values |= {"score_low": metric.clipped(estimate.low), "score_high": metric.clipped(estimate.high)}
    counted = list(map(activity, group))
    for name in counted[0]:
        told = [value for one in counted if (value := one[name]) is not None]
        values[name] = fmean(told) if told else None
    return values


def one_command(commands: Iterable[str]) -> str | None:
    """The command that makes runs again: one line, with a loop where only the repetition differs."""
    each = list(dict.fromkeys(commands))
    numbers = [found for one in each for found in re.findall(r"--repetition (\d+)", one)]
    bodies = {re.sub(r"--repetition \d+", "--repetition $r", one) for one in each}
    if len(each) > 1 and len(bodies) == 1:
        return f"for r in {' '.join(numbers)}; do {bodies.pop()}; done"
    return "; ".join(each) or None

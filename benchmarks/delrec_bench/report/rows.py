"""From a page's records to its rows: a task and a method, in the columns of the page's csv."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import binom

from delrec_bench.metrics import metric_named
from delrec_bench.records import DATA_KINDS, Record, canonical_json
from delrec_bench.records.results import activity
from delrec_bench.report import words
from delrec_bench.report.declared import Declaration, Empty, Expected
from delrec_bench.report.published import dataset_of, published_for
from delrec_bench.statistics.paired import paired
from delrec_bench.statistics.verdicts import SHOWN_ONLY

MODES = ("train", "infer", "batch1")
COLUMNS = (
    *("task", "data", "method", "learned", "metric", "n", "score_mean", "score_sd", "score_low", "score_high"),
    "lost",
    *("rank_group", "selection"),
    *("parameters_total", "parameters_weights", "parameters_delays", "parameters_neuron"),
    *(name for m in MODES for name in (f"latency_{m}_ms", f"latency_{m}_ms_iqr", f"latency_{m}_ratio")),
    *("spikes_per_neuron_step", "synaptic_operations", "delay_buffer", "step_ms", "steps", "representation"),
    *("augmentation", "engine", "device", "host", "code_revision", "data_digest"),
    *("published_score", "published_source", "published_selection", "command"),
)
"""The columns of a page's csv. Scores are fractions (or NMSE, where `metric` says so); missing is empty."""


@dataclass(frozen=True)
class Row:
    """One (task, method) of a page.

    Attributes:
        kind: "run", "floor", or "empty" for a row without runs.
        values: By name of `COLUMNS`; None is missing.
        records, latency: Those behind the row: runs by repetition, and the measurement that belongs to it, or None.
        diverged: The repetitions that have no score, since their training left the finite numbers.
    """

    kind: str
    values: Mapping[str, Any]
    asked: Expected
    records: tuple[Record, ...] = ()
    latency: Record | None = None
    diverged: tuple[int, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def title(self) -> str:
        """What people call it."""
        return self.asked.title or self.asked.method

    @property
    def base(self) -> str:
        """The method, also where the row is a point of a sweep."""
        return self.asked.base or self.asked.method

    @property
    def scores(self) -> dict[int, float]:
        """Repetition -> score."""
        return {r.repetition: r.score for r in self.records}

    @property
    def compared(self) -> bool:
        """Whether it has enough repetitions for an interval and a verdict."""
        return len(self.records) > SHOWN_ONLY

    @property
    def searched(self) -> set[str]:
        """Names of the searched presets that its runs have their settings of."""
        return {str(r.provenance["searched"]) for r in self.records if "searched" in r.provenance}

    @property
    def resolution(self) -> float:
        """The smallest step of a score: 1 / test samples where it is a share of them, else 0."""
        return max((1 / r.result["total"] for r in self.records if metric_named(r.metric).classifies), default=0.0)

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

    @property
    def revisions(self) -> set[str]:
        """The code revisions among the row's records."""
        return set(map(revision, self.records))


def too_short(rows: Iterable[Row]) -> str:
    """In how many of their runs the last epoch was the best, if chance hardly allows that (binomial, 5 percent)."""
    lengths, last = [], 0
    for record in (record for row in rows for record in row.records if record.result.get("selection") == "validation"):
        metric = metric_named(record.metric)
        name = f"valid_{metric.name}"
        curve = [metric.rank(entry[name]) for entry in record.history if name in entry]
        if len(curve) > 1:
            lengths.append(len(curve))
            last += curve[-1] < min(curve[:-1])
    if not lengths or binom.sf(last - 1, len(lengths), 1 / max(lengths)) >= 0.05:
        return ""
    return f"{last} of {words.plural(len(lengths), 'run')}"


def setting(record: Record, drawn: Collection[str] = ()) -> str:
    """What the records of a row must share: configuration without seeds and without what is drawn, results version."""
    shared = {
        k: {name: of for name, of in v.items() if f"{k}.{name}" not in drawn} if isinstance(v, dict) else v
        for k, v in record.configuration.items()
        if k not in ("seeds", "repetition")
    }
    return canonical_json([shared, record.provenance.get("results_version")])


def revision(record: Record) -> str:
    """Short revision of the code that made the record, marked where the tree was dirty; "unknown" if not recorded."""
    name = str(record.provenance.get("revision") or "unknown")[:12]
    return name + ("+dirty" if record.provenance.get("dirty") else "")


def host_of(record: Record) -> str | None:
    """The machine that made the record, in a line."""
    host = record.measured.get("host")
    return ", ".join(f"{k} {v}" for k, v in host.items()) if isinstance(host, dict) else host


def build_rows(declared: Declaration, records: Sequence[Record]) -> list[Row]:
    """The rows of a page, task by task: official data first, methods from best to worst, then floors."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in declared.members(records):
        groups.setdefault((record.task, declared.runs[record.key].method), []).append(record)
    latency = comparable([r for r in records if r.kind == "latency"])
    rows = [_row(declared, task, declared.runs[of[0].key], of, latency) for (task, _), of in groups.items()]
    rows += [
        _row(declared, one.task, one.expected, [], latency, one)
        for one in declared.empty
        if (one.task, one.expected.method) not in groups
    ]
    kinds = {row["task"]: row["data"] for row in rows if row["data"]}

    def order(row: Row) -> tuple[Any, ...]:
        kind = -DATA_KINDS.index(str(kinds.get(row["task"], "OFFICIAL")).split()[0])
        mean = row["score_mean"]
        rank = 0.0 if mean is None else metric_named(row["metric"]).rank(mean)
        return kind, row["task"], ("run", "empty", "floor").index(row.kind), rank, row["method"]

    return sorted(rows, key=order)


def comparable(records: Iterable[Record]) -> list[Record]:
    """The latencies that were measured alike: same host, device and threads; of several such sets the largest.

    A newer measurement never stands in for one made elsewhere.
    """
    alike: dict[str, dict[tuple[str, str, str], Record]] = {}
    for r in sorted(records, key=_newest):
        place = canonical_json([host_of(r), r.device, r.configuration.get("threads")])
        alike.setdefault(place, {})[r.task, r.method, canonical_json(r.configuration.get("network"))] = r
    return list(max(alike.values(), key=len, default={}).values())


def _newest(record: Record) -> tuple[str, str]:
    return str(record.measured.get("finished_at")), record.key


def _row(
    declared: Declaration,
    task: str,
    asked: Expected,
    group: list[Record],
    latency: list[Record],
    empty: Empty | None = None,
) -> Row:
    method = asked.base or asked.method
    measured = _latency_of(task, method, group, latency, empty)
    of = group or ([measured] if measured else [])
    source = of[0] if of else None
    configuration: Mapping[str, Any] = source.configuration if source else {}
    data: Mapping[str, Any] = source.data if source else {}
    counts: Mapping[str, Any] = source.parameters if source else {}
    times: Mapping[str, Any] = measured.result if measured else {}
    stamp = str(group[0].data.get("stamp") or group[0].data["kind"]) if group else None  # a latency uses no data
    condition = "evaluation" in configuration
    published = None if condition else published_for(dataset_of(task, stamp), method, configuration)
    metric = source.metric if source else published.metric if published else None
    lost = sorted(
        f.repetition for f in declared.diverged if (f.task, declared.runs[f.key].method) == (task, asked.method)
    )
    commands = [r.command for r in group] or ([empty.command] if empty else [])
    folder = f" --methods {declared.new[asked.method]}" if asked.method in declared.new else ""
    values: dict[str, Any] = dict.fromkeys(COLUMNS) | {
        "task": task,
        "data": stamp,
        "method": asked.method,
        "learned": (source.learned or None) if source else None,
        "metric": metric,
        "n": len(group),
        "lost": len(lost) / (len(group) + len(lost)) if group else None,
        "selection": _joined(r.result.get("selection") for r in group),
        "host": _joined(map(host_of, of)),
        "code_revision": _joined(map(revision, of)),
        "data_digest": data.get("digest"),
        "command": one_command(command + folder for command in commands if command),
    }
    if group and metric:
        estimate = paired([r.score for r in group], [0.0] * len(group))
        values |= {"score_mean": sum(r.score for r in group) / len(group), "score_sd": estimate.sd}
        if len(group) > SHOWN_ONLY and estimate.low is not None and estimate.high is not None:
            known = metric_named(metric)  # no score can be beyond its limits
            values |= {"score_low": known.clipped(estimate.low), "score_high": known.clipped(estimate.high)}
    # pixels have no duration: a step of 0 ms is none
    values |= {n: data.get(n) or None for n in ("step_ms", "steps", "representation", "augmentation")}
    values |= {name: _joined(getattr(r, name) for r in of) for name in ("engine", "device")}
    values |= {f"parameters_{k}": counts.get(k) for k in ("total", "weights", "delays", "neuron")}
    if published:
        named = {"score": published.value, "source": published.source, "selection": published.selection or None}
        values |= {f"published_{name}": value for name, value in named.items()}
    counted = [activity(r) for r in group]
    for name in ("spikes_per_neuron_step", "synaptic_operations", "delay_buffer"):
        told = [value for one in counted if (value := one[name]) is not None]
        values[name] = sum(told) / len(told) if told else None
    for mode in MODES:
        spread = times.get(f"{mode}_ms_iqr")
        values[f"latency_{mode}_ms"] = times.get(f"{mode}_ms")
        values[f"latency_{mode}_ms_iqr"] = spread[1] - spread[0] if isinstance(spread, list) else spread
        values[f"latency_{mode}_ratio"] = times.get(f"{mode}_ratio")
    return Row(group[0].kind if group else "empty", values, asked, tuple(group), measured, tuple(lost))


def _latency_of(
    task: str, method: str, group: Sequence[Record], latency: Sequence[Record], empty: Empty | None
) -> Record | None:
    """The latency of this method on this task: of the very network of the runs, or of the budget that is asked for."""
    if group and group[0].kind != "run":
        return None
    found = [r for r in latency if (r.task, r.method) == (task, method)]
    if group:
        found = [r for r in found if r.configuration.get("network") == group[0].configuration.get("network")]
    elif empty is not None:
        found = [r for r in found if (r.configuration.get("budget") or None) == empty.budget]
    return max(found, key=_newest, default=None)


def one_command(commands: Iterable[str]) -> str | None:
    """The command that makes runs again: one line, with a loop where only the repetition differs."""
    each = list(dict.fromkeys(commands))
    numbers = [found for one in each for found in re.findall(r"--repetition (\d+)", one)]
    bodies = {re.sub(r"--repetition \d+", "--repetition $r", one) for one in each}
    if len(each) > 1 and len(bodies) == 1:
        return f"for r in {' '.join(numbers)}; do {bodies.pop()}; done"
    return "; ".join(each) or None


def _joined(values: Iterable[Any]) -> str | None:
    return " ".join(dict.fromkeys(str(v) for v in values if v)) or None

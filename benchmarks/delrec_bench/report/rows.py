"""From a page's records to its rows: a task and a method, in the columns of the page's csv."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binom

from delrec_bench.metrics import metric_named
from delrec_bench.records import DATA_KINDS, Record, canonical_json
from delrec_bench.report import words
from delrec_bench.report.activity import ACTIVITY, mean
from delrec_bench.report.declared import Declaration, Expected
from delrec_bench.report.published import Published, dataset_of, published_for
from delrec_bench.statistics.paired import paired

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
        kind: "run", "floor", or "unscored" for a row without runs.
        values: By name of `COLUMNS`; None is missing.
        records: The records behind the row, by repetition.
        latency: The latency record beside it, or None.
        published: The published value beside it, or None.
        control: The row that it is compared with, or None.
        base: The method, also where the row is a point of a sweep.
        point: Where the row stands on the axes of the sweep, (axis, value) pairs; empty where it is not swept.
        diverged: The repetitions that have no score, since their training left the finite numbers.
    """

    kind: str
    values: Mapping[str, Any]
    records: tuple[Record, ...]
    latency: Record | None = None
    published: Published | None = None
    control: str | None = None
    base: str = ""
    point: tuple[tuple[str, Any], ...] = ()
    diverged: tuple[int, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def scores(self) -> dict[int, float]:
        """Repetition -> score."""
        return {r.repetition: r.score for r in self.records}

    @property
    def searched(self) -> set[str]:
        """Names of the searched presets that its runs have their settings of."""
        return {str(r.provenance["searched"]) for r in self.records if "searched" in r.provenance}

    @property
    def resolution(self) -> float:
        """The smallest step of a score: 1 / test samples where it is a share of them, else 0."""
        totals = [r.result["total"] for r in self.records if metric_named(r.metric).classifies]
        return 1 / min(totals) if totals else 0.0

    @property
    def delays(self) -> str:
        """Whether the delays are "learned", "fixed" (there, but not trained) or there are "none"."""
        counts = _counts(self)
        if counts.get("learned_delays"):
            return "learned"
        return "fixed" if (counts.get("delays") or 0) > (counts.get("spreads") or 0) else "none"

    @property
    def delay_counts(self) -> str:
        """How many delays it has, whether they are fixed, and how many spreads beside them; empty without delays."""
        counts = _counts(self)
        spreads = counts.get("spreads") or 0
        delays = (counts.get("delays") or 0) - spreads
        told = [f"{words.plural(delays, 'delay')}{', fixed' if self.delays == 'fixed' else ''}"] if delays else []
        return " and ".join([*told, *([words.plural(spreads, "spread")] if spreads else [])])

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of each layer; empty where there is no network."""
        source = self.records[0] if self.records else self.latency
        network = source.configuration.get("network") if source else None
        return tuple(network.get("hidden") or ()) if isinstance(network, dict) else ()

    @property
    def sigma(self) -> float | None:
        """The spread over time of its delays when training begins; None where it has none."""
        source = self.records[0] if self.records else self.latency
        network = source.configuration.get("network") if source else None
        return network.get("sigma") if isinstance(network, dict) else None

    @property
    def too_short(self) -> bool:
        """Whether its last epoch was the best more often than chance allows (binomial, 5 percent)."""
        epochs = max((len(r.history) for r in self.records), default=0)
        if self.last_best is None or epochs < 2 or any(r.result.get("selection") != "validation" for r in self.records):
            return False
        n = len(self.records)
        return float(binom.sf(round(self.last_best * n) - 1, n, 1 / epochs)) < 0.05

    @property
    def last_best(self) -> float | None:
        """The share of its runs whose last epoch was better than all before; None where their scores are not there."""
        sign = 1 if metric_named(self["metric"]).more_is_better else -1
        scores = [[sign * e[f"valid_{r.metric}"] for e in r.history if f"valid_{r.metric}" in e] for r in self.records]
        known = [of for of in scores if len(of) > 1]
        return sum(of[-1] > max(of[:-1]) for of in known) / len(known) if known else None

    @property
    def derived(self) -> bool:
        """Whether its networks are those of another row, scored under a condition of evaluation."""
        return _derived(self.records)

    @property
    def revisions(self) -> tuple[str, ...]:
        """The code revisions among the row's records."""
        return tuple(sorted({revision(r) for r in self.records}))


def _counts(row: Row) -> Mapping[str, Any]:
    if row.records:
        return row.records[0].parameters
    return row.latency.parameters if row.latency is not None else {}


def column(record: Record, name: str) -> np.ndarray | None:
    """A record's `predictions`, `targets` or `groups`, (test samples,); None where it has none."""
    values = getattr(record, name)
    return None if values is None else np.asarray(values)


def setting(record: Record) -> str:
    """What the records of a row must share: configuration without seeds, version of results."""
    shared = {k: v for k, v in record.configuration.items() if k not in ("seeds", "repetition")}
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
    rows = [_row(declared, task, method, of, latency) for (task, method), of in groups.items()]
    there = {(row["task"], row["method"]) for row in rows}
    rows += [_row(declared, *pair, [], latency) for pair in declared.unscored if pair not in there]
    kinds = {row["task"]: row["data"] for row in rows}
    named, listed = [task for task, _ in declared.unscored], list(declared.unscored)

    def order(row: Row) -> tuple[Any, ...]:
        place = named.index(row["task"]) if row["task"] in named else len(named)
        kind = -DATA_KINDS.index(str(kinds[row["task"]] or "OFFICIAL").split()[0])
        mean, pair = row["score_mean"], (row["task"], row["method"])
        rank = 0.0 if mean is None else metric_named(row["metric"]).rank(mean)
        if pair in listed:  # a table of sizes keeps the order in which it was declared
            return place, 0, row["task"], 0, float(listed.index(pair)), row["method"]
        return place, kind, row["task"], ("run", "unscored", "floor").index(row.kind), rank, row["method"]

    return sorted(rows, key=order)


def comparable(records: Iterable[Record]) -> list[Record]:
    """The latencies that were measured alike: same host, device and threads; of several such sets the largest.

    A newer measurement never stands in for one made elsewhere.
    """
    alike: dict[str, dict[tuple[str, str, str], Record]] = {}
    for r in sorted(records, key=lambda r: (str(r.measured.get("finished_at")), r.key)):
        place = canonical_json([host_of(r), r.device, r.configuration.get("threads")])
        network = canonical_json(r.configuration.get("network"))
        alike.setdefault(place, {})[r.task, r.method, network] = r
    largest: dict[tuple[str, str, str], Record] = max(alike.values(), key=len, default={})
    return list(largest.values())


def _row(declared: Declaration, task: str, method: str, group: list[Record], latency: list[Record]) -> Row:
    measured = latency_of(task, method, group, latency)
    source = group[0] if group else measured
    base = source.method if source is not None else method
    kind_of_data = _stamp(group[0]) if group else None  # a latency uses no data
    dataset = dataset_of(task, kind_of_data)
    published = None if _derived(group) else published_for(dataset, base, source.configuration if source else {})
    data: Mapping[str, Any] = source.data if source is not None else {}

    def within(end: float | None) -> float | None:  # no score can be beyond
        return None if end is None or source is None else metric_named(source.metric).clipped(end)

    estimate = paired([r.score for r in group], [0.0] * len(group))
    values: dict[str, Any] = dict.fromkeys(COLUMNS) | {
        "task": task,
        "method": method,
        "metric": source.metric if source is not None else published.metric if published else None,
        "n": len(group),
        "score_mean": sum(r.score for r in group) / len(group) if group else None,
        "score_sd": estimate.sd,
        "score_low": within(estimate.low),
        "score_high": within(estimate.high),
        "data": kind_of_data,
        "learned": (source.learned or None) if source is not None else None,
        "selection": _joined(r.result.get("selection") for r in group),
        "step_ms": data.get("step_ms") or None,  # pixels have no duration
        "steps": data.get("steps"),
        "representation": data.get("representation"),
        "augmentation": _text(data.get("augmentation")),
        "engine": _joined(r.engine for r in group or _listed(source)),
        "device": _joined(r.device for r in group or _listed(source)),
        "host": _joined(map(host_of, group or _listed(source))),
        "code_revision": _joined(map(revision, group or _listed(source))),
        "data_digest": data.get("digest"),
        "published_score": published.value if published else None,
        "published_source": published.source if published else None,
        "published_selection": (published.selection or None) if published else None,
        "command": words.one_command([record.command for record in group if record.command]),
    }
    counts = source.parameters if source is not None else {}
    values |= {f"parameters_{k}": counts.get(k) for k in ("total", "weights", "delays", "neuron")}
    values |= {name: mean(map(of, group)) for name, of in ACTIVITY.items()}
    times = measured.result if measured is not None else {}
    for mode in MODES:
        values[f"latency_{mode}_ms"] = times.get(f"{mode}_ms")
        values[f"latency_{mode}_ms_iqr"] = _width(times.get(f"{mode}_ms_iqr"))
        values[f"latency_{mode}_ratio"] = times.get(f"{mode}_ratio")
    kind = group[0].kind if group else "unscored"
    asked = declared.runs[group[0].key] if group else Expected(method)
    lost = tuple(
        sorted(f.repetition for f in declared.diverged if (f.task, declared.runs[f.key].method) == (task, method))
    )
    values["lost"] = len(lost) / (len(group) + len(lost)) if group else None
    return Row(
        kind, values, tuple(group), measured, published, asked.control, asked.base or method, asked.point,
        lost,
    )  # fmt: skip


def _stamp(record: Record) -> str:
    """Whose data it is, and whether all of it."""
    return str(record.data.get("stamp") or record.data["kind"])


def _derived(group: Sequence[Record]) -> bool:
    """Whether a row is of networks scored under a condition of evaluation."""
    return bool(group) and "evaluation" in group[0].configuration


def _listed(record: Record | None) -> list[Record]:
    return [] if record is None else [record]


def latency_of(task: str, method: str, group: Sequence[Record], latency: Sequence[Record]) -> Record | None:
    """The latency of this method on this task, with the very network of the runs."""
    base = group[0].method if group else method
    if group and group[0].kind != "run":
        return None
    found = [r for r in latency if (r.task, r.method) == (task, base)]
    if group:
        network = group[0].configuration.get("network")
        found = [r for r in found if r.configuration.get("network") == network]
    return max(found, key=lambda r: (str(r.measured.get("finished_at")), r.key), default=None)


def _width(spread: Any) -> float | None:
    """The interquartile range, of a width or of [q25, q75]."""
    return spread[1] - spread[0] if isinstance(spread, list) else spread


def _joined(values: Iterable[Any]) -> str | None:
    return " ".join(dict.fromkeys(str(v) for v in values if v)) or None


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "yes" if value else "none"
    return value if isinstance(value, str) else canonical_json(value)

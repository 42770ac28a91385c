"""From records to the rows of the leaderboard: which records stand behind a row, and what the row says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from delrec_bench.metrics import metric_named
from delrec_bench.records import DATA_KINDS, Record, canonical_json
from delrec_bench.report.published import Published, published_for
from delrec_bench.statistics import Interval, crossed_interval, stacked_scores, summarise

RATIOS = ("train", "infer", "batch1")
COLUMNS = (
    *("task", "data", "method", "learned", "metric", "n", "score_mean", "score_sd", "score_low", "score_high"),
    *("selection", "parameters_total", "parameters_weights", "parameters_delays", "parameters_neuron"),
    *(name for r in RATIOS for name in (f"latency_{r}_ratio", f"latency_{r}_ratio_iqr")),
    *("step_ms", "steps", "representation", "augmentation", "engine", "code_revision", "data_digest"),
    *("published_score", "published_source", "command", "search"),
)
"""The columns of leaderboard.csv. Scores are fractions (or NMSE, where `metric` says so); missing is empty."""


@dataclass(frozen=True)
class Row:
    """One (task, method) of the leaderboard.

    Attributes:
        kind: "run" or "floor".
        values: by name of `COLUMNS`; None is missing.
        records: the records behind the row, by repetition.
        latency: the latency record joined to it, or None.
        samples: interval over repetitions and test samples, or None.
        published: the published value beside it, or None.
    """

    kind: str
    values: dict[str, Any]
    records: tuple[Record, ...]
    latency: Record | None = None
    samples: Interval | None = None
    published: Published | None = None

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def more_is_better(self) -> bool:
        """Whether a larger score is better."""
        return metric_named(self["metric"]).more_is_better

    @property
    def delays(self) -> str:
        """Whether the delays are "learned", "fixed" (there, but frozen) or there are "none"."""
        counts = self.records[0].parameters
        delays, frozen = counts.get("delays") or 0, counts.get("frozen") or 0
        if self["method"].endswith("-fixed") or (delays and frozen >= delays):
            return "fixed"
        return "learned" if delays or "delay" in (self["learned"] or "") else "none"

    @property
    def revisions(self) -> tuple[str, ...]:
        """The code revisions among the row's records."""
        return tuple(sorted({revision(r) for r in self.records}))


@dataclass
class Chosen:
    """Which records stand behind the rows, and in words what was left out."""

    groups: list[list[Record]] = field(default_factory=list)
    latency: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def setting(record: Record) -> str:
    """What a row's records share: configuration without seeds, and the data."""
    shared = {k: v for k, v in record.configuration.items() if k not in ("seeds", "repetition")}
    return canonical_json([shared, record.data.get("digest")])


def revision(record: Record) -> str:
    """Short revision of the code that made the record, marked where the tree was dirty; "unknown" if not recorded."""
    name = str(record.provenance.get("revision") or "unknown")[:12]
    return name + ("+dirty" if record.provenance.get("dirty") else "")


def searched(record: Record) -> str | None:
    """The search that chose a run's settings, in words; None where there was none."""
    search = record.search
    return f"{search['trials']} trial{'s' * (search['trials'] > 1)}, trial {search['trial']}" if search else None


def merge(records: Sequence[Record], committed: Sequence[Record]) -> list[Record]:
    """Own records, and committed ones for every (task, method, kind) that no own study has covered.

    Single runs of one's own do not displace a committed row: `choose` then shows the study's runs and names the rest.
    """
    own = {(r.task, r.method, r.kind) for r in records if r.study or r.kind == "latency"}
    records = [r for r in records if r.kind != "trial"]
    return [*records, *(r for r in committed if (r.task, r.method, r.kind) not in own)]


def choose(records: Iterable[Record], profile: str | None = None) -> Chosen:
    """One set of comparable records per (task, method).

    Within a task all rows come from one profile: `profile`, or the one with the most methods there. Where a method
    has runs of several configurations in it, a study's runs come before single ones, then the configuration with
    the most repetitions. Everything left out is named in the notes.
    """
    chosen = Chosen()
    unique = {(r.kind, r.key): r for r in records}.values()
    chosen.latency = [r for r in unique if r.kind == "latency"]
    scored = [r for r in unique if r.kind in ("run", "floor")]  # never a search's trials
    for task in sorted({r.task for r in scored}, key=lambda t: _task_order(t, scored)):
        of_task = [r for r in scored if r.task == task]
        kept = _of_one_profile(task, of_task, profile, chosen.notes)
        for method in sorted({(r.kind == "floor", r.method) for r in kept}):
            group = _of_one_setting([r for r in kept if r.method == method[1]], chosen.notes)
            chosen.groups.append(group)
    return chosen


def _task_order(task: str, records: Sequence[Record]) -> tuple[int, str]:
    kind = next(r.data["kind"] for r in records if r.task == task)
    return -DATA_KINDS.index(kind), task


def _of_one_profile(task: str, records: list[Record], profile: str | None, notes: list[str]) -> list[Record]:
    def name(r: Record) -> str:
        return str(r.configuration.get("profile") or "none")

    methods: dict[str, set[str]] = {}
    for r in records:
        methods.setdefault(name(r), set()).add(r.method)
    sizes = Counter(name(r) for r in records)
    wanted = profile if profile in methods else max(sorted(methods), key=lambda p: (len(methods[p]), sizes[p]))
    left = Counter(name(r) for r in records if name(r) != wanted)
    notes += [
        f"{task}: {count} record{'s' * (count > 1)} of the profile “{p}” not shown beside “{wanted}”."
        for p, count in sorted(left.items())
    ]
    return [r for r in records if name(r) == wanted]


def _of_one_setting(records: list[Record], notes: list[str]) -> list[Record]:
    settings: dict[str, list[Record]] = {}
    for r in records:
        settings.setdefault(setting(r), []).append(r)
    best = max(sorted(settings), key=lambda s: (any(r.study for r in settings[s]), len(settings[s])))
    group = {r.repetition: r for r in sorted(settings[best], key=lambda r: r.key)}
    left = len(records) - len(group)
    if left:
        notes.append(
            f"{records[0].task}: {left} record{'s' * (left > 1)} of {records[0].method} "
            f"with another configuration not shown."
        )
    return [group[i] for i in sorted(group)]


def build_rows(chosen: Chosen) -> list[Row]:
    """The rows, task by task: methods from best to worst, then the method-free floors."""
    rows = [_row(group, chosen) for group in chosen.groups]
    tasks = list(dict.fromkeys(row["task"] for row in rows))

    def order(row: Row) -> tuple[Any, ...]:
        rank = metric_named(row["metric"]).rank(row["score_mean"])
        return tasks.index(row["task"]), row.kind == "floor", rank, row["method"]

    return sorted(rows, key=order)


def _row(group: list[Record], chosen: Chosen) -> Row:
    first = group[0]
    scores = summarise([r.score for r in group])
    stacked = stacked_scores(group)
    latency = _latency_of(first, chosen)
    published = published_for(group)
    data, counts = first.data, first.parameters
    values: dict[str, Any] = {
        "task": first.task,
        "data": data["kind"],
        "method": first.method,
        "learned": first.learned or None,
        "n": scores.n,
        "score_mean": scores.mean,
        "score_sd": scores.sd,
        "score_low": scores.low,
        "score_high": scores.high,
        "selection": _joined(r.result.get("selection") for r in group),
        **{f"parameters_{k}": counts.get(k) for k in ("total", "weights", "delays", "neuron")},
        "step_ms": data.get("step_ms") or None,  # pixels have no duration
        "steps": data.get("steps"),
        "representation": data.get("representation"),
        "augmentation": _text(data.get("augmentation")),
        "engine": _joined(r.engine for r in group),
        "code_revision": _joined(revision(r) for r in group),
        "data_digest": data.get("digest"),
        "published_score": published.value if published else None,
        "published_source": published.source if published else None,
        "command": command_of(group),
        "metric": first.metric,
        "search": _joined(searched(r) for r in group),
    }
    for name in RATIOS:
        values[f"latency_{name}_ratio"] = latency.result.get(f"{name}_ratio") if latency else None
        values[f"latency_{name}_ratio_iqr"] = _width(latency, f"{name}_ratio_iqr")
    ordered = {name: values[name] for name in COLUMNS}
    samples = crossed_interval(stacked) if stacked is not None else None
    return Row(first.kind, ordered, tuple(group), latency, samples, published)


def _latency_of(record: Record, chosen: Chosen) -> Record | None:
    """The latency measured for this method on this task with this network; the newest of several."""
    if record.kind != "run":
        return None
    network = record.configuration.get("network")
    found = [r for r in chosen.latency if (r.method, r.task) == (record.method, record.task)]
    matching = [r for r in found if r.configuration.get("network") in (None, network) or network is None]
    if found and not matching:
        chosen.notes.append(
            f"{record.task}: latency of {record.method} was measured with another network and is left out."
        )
    return max(matching, key=lambda r: (str(r.measured.get("finished_at")), r.key), default=None)


def _width(latency: Record | None, name: str) -> float | None:
    spread = latency.result.get(name) if latency else None
    return spread[1] - spread[0] if isinstance(spread, list) else spread


def _joined(values: Iterable[Any]) -> str | None:
    return " ".join(dict.fromkeys(str(v) for v in values if v)) or None


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "yes" if value else "none"
    return value if isinstance(value, str) else canonical_json(value)


def command_of(group: Sequence[Record]) -> str | None:
    """The command that makes the row again: one line, with a loop where only the repetition differs."""
    commands = list(dict.fromkeys(r.command for r in group if r.command))
    if not commands:
        return None
    pattern = re.compile(r"--repetition[ =](\d+)")
    numbers = [m.group(1) for c in commands if (m := pattern.search(c))]
    bodies = {pattern.sub("--repetition $r", c) for c in commands}
    if len(commands) > 1 and len(bodies) == 1 and len(numbers) == len(commands):
        return f"for r in {' '.join(numbers)}; do {bodies.pop()}; done"
    return "; ".join(commands)

"""One run's page: <key>.html, self-contained like every page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from delrec_bench.metrics import metric_named
from delrec_bench.records import Record
from delrec_bench.report import words
from delrec_bench.report.amounts import amount_of, stamp
from delrec_bench.report.content import STAMPS
from delrec_bench.report.figures.confusion import confusion
from delrec_bench.report.figures.history import history
from delrec_bench.report.figures.raster import raster
from delrec_bench.report.figures.style import Drawn
from delrec_bench.report.figures.units import units
from delrec_bench.report.html import beside, environment
from delrec_bench.report.rows import host_of, revision
from delrec_bench.runs.replay import Replay

Facts = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Seen:
    """What is at hand beside the record.

    Attributes:
        replay: The network looked into, or None.
        why_not: Why it could not be, in a line; empty where it was.
        latency: The latency record of the same network, or None.
    """

    replay: Replay | None = None
    why_not: str = ""
    latency: Record | None = None


def run_page(record: Record, seen: Seen) -> str:
    """The page of one run, floor or trial."""
    drawn = figures_of(record, seen)
    return (
        environment()
        .from_string(beside("run.html.j2"))
        .render(
            record=record,
            title=title_of(record),
            score=score_of(record),
            style=Markup(beside("page.css")),
            stamp=_stamp(record),
            meaning=STAMPS.get(_stamp(record), ""),
            figures=drawn,
            svg=lambda figure: Markup(figure.inline()),
            why_not=seen.why_not,
            groups={name: of for name, of in facts(record, seen).items() if of},
        )
    )


def title_of(record: Record) -> str:
    """Which run it is, and under what its network was scored where that is not as deployed."""
    under = "".join(f", {name} {value}" for name, value in evaluation_of(record).items())
    return f"{record.method} on {record.task}, repetition {record.repetition}{under}"


def evaluation_of(record: Record) -> Mapping[str, Any]:
    """The condition of evaluation of a run that is another one's network, scored once more; else empty."""
    found: Any = record.configuration.get("evaluation") or {}
    return found


def figures_of(record: Record, seen: Seen) -> list[Drawn]:
    """Every figure that there is something for, in the order of the page."""
    replay = seen.replay
    layers: Any = replay.delays if replay is not None else record.delays or ()
    found = [history(record), units(layers)]
    if replay is not None:
        found.append(
            raster(title_of(record), replay.sample, replay.inputs, replay.layers, replay.spikes, replay.without)
        )
    found.append(confusion(record))
    return [figure for figure in found if figure is not None]


def score_of(record: Record) -> str:
    """What came of it, in a sentence."""
    metric, result = metric_named(record.metric), record.result
    if record.kind == "trial":
        if result.get("failed"):
            return f"A trial of a search, which failed: {result['failed']}."
        return f"A trial of a search: {metric.format(result['valid_score'])} {metric.unit} on validation data alone."
    hits = f", {result['correct']} of {result['total']} test samples" if metric.classifies else ""
    how = "the trained network scored once more" if evaluation_of(record) else "scored once after training"
    if result.get("selection") == "best-test":
        how = "NO RESULT: the test set was scored after every epoch and chose it"
    text = f"Test score {metric.format(record.score)} {metric.unit}{hits}, {how}"
    if result.get("best_epoch"):
        valid = result.get("valid_score")
        by = f" (validation {metric.format(valid)})" if valid is not None else ""
        text += f", with epoch {result['best_epoch']} of {result['epochs']}{by}"
    return f"{text}. One run says nothing about the spread: compare methods on a page."


def _stamp(record: Record) -> str:
    return stamp(amount_of(record)) if record.data.get("sizes") else str(record.data["kind"])


def facts(record: Record, seen: Seen) -> dict[str, Facts]:
    """What stands in the page's tables, by heading."""
    return {
        "Cost": _cost(record, seen.latency),
        "Settings": _settings(record),
        "Where it comes from": _provenance(record),
    }


def _cost(record: Record, latency: Record | None) -> Facts:
    counts, activity, measured = record.parameters, record.activity, record.measured
    ops = activity.get("synaptic_operations") or {}
    times: Mapping[str, Any] = latency.result if latency is not None else {}
    modes = (("training step", "train"), ("inference of a batch", "infer"), ("one whole sample", "batch1"))
    epochs = measured.get("epoch_seconds") or []
    shown: list[tuple[str, Any]] = [
        ("parameters", words.count(counts.get("total"))),
        *((f"of them {name}", words.count(counts.get(name))) for name in ("weights", "delays", "neuron", "frozen")),
        ("spikes a neuron and step", _number(activity.get("spikes_per_neuron_step"))),
        ("effective accumulates a sample", words.count(ops.get("effective_acs"))),
        ("effective multiply-accumulates a sample", words.count(ops.get("effective_macs"))),
        ("operations of a dense network", words.count(ops.get("dense"))),
        ("delay buffer (values kept)", words.count(activity.get("delay_buffer"))),
        *((name, _latency(times, mode)) for name, mode in modes),
        ("wall time", _seconds(measured.get("wall_seconds"))),
        ("an epoch", _seconds(sorted(epochs)[len(epochs) // 2]) if epochs else ""),
        ("memory at most", _megabytes(measured.get("peak_bytes"))),
    ]
    return [(name, str(value)) for name, value in shown if value]


def _latency(times: Mapping[str, Any], mode: str) -> str:
    ratio = times.get(f"{mode}_ratio")
    text = words.milliseconds(times.get(f"{mode}_ms"))
    return f"{text} ({ratio:.2f} of the network without delays)" if text and ratio else text


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else ""


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f} s"


def _megabytes(value: float | None) -> str:
    return "" if not value else f"{value / 2**20:,.0f} MiB"


def _settings(record: Record) -> Facts:
    return [(name, str(value)) for name, value in flat(record.configuration) if value is not None]


def flat(table: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Dotted names and values."""
    out: list[tuple[str, Any]] = []
    for name, value in table.items():
        where = f"{above}{name}"
        out += flat(value, f"{where}.") if isinstance(value, Mapping) else [(where, value)]
    return out


def _provenance(record: Record) -> Facts:
    data, provenance, search = record.data, record.provenance, record.search
    shown: list[tuple[str, Any]] = [
        ("key", record.key),
        ("code", revision(record)),
        ("results version", provenance.get("results_version")),
        ("finished", record.measured.get("finished_at")),
        ("host", host_of(record)),
        ("engine, device", f"{record.engine}, {record.device}"),
        ("data", f"{data['kind']}, {data['digest']}"),
        *((f"samples, {part}", words.count(n)) for part, n in (data.get("sizes") or {}).items()),
        ("steps", f"{data.get('steps')} of {data.get('step_ms')} ms" if data.get("step_ms") else data.get("steps")),
        ("input", data.get("representation")),
        ("study", record.study),
        ("search", search and f"{search.get('trials')} trials, trial {search.get('trial')}: {search.get('values')}"),
        ("submitter", provenance.get("submitter")),
        *((name, version) for name, version in sorted((provenance.get("versions") or {}).items())),
    ]
    return [(name, str(value)) for name, value in shown if value]

"""The README.md beside a network's weights: a model card as hubs read it, every number from the record."""

from typing import Any

import yaml

from delrec_bench.errors import BenchError
from delrec_bench.interchange.models import Model
from delrec_bench.methods.base import MethodTable
from delrec_bench.metrics import metric_named
from delrec_bench.records import Record
from delrec_bench.tasks.base import TaskTable

WEIGHTS = "model.safetensors"
LICENCE = "mit"
"""That of the core package, which the network is made of; whoever trained it may choose another."""

_HUB_TASKS = {
    "speech": "audio-classification",
    "pixels": "image-classification",
    "forecast": "time-series-forecasting",
    "points": "tabular-classification",
}
_CITATION = """@software{delrec_bench,
  title  = {delrec-bench: benchmark and reproducibility suite for delay learning in spiking neural networks},
  author = {{The delrec-bench contributors}}
}
@article{delrec,
  title = {DelRec: learning delays in recurrent spiking neural networks},
  year  = {2025},
  url   = {https://arxiv.org/abs/2509.24852}
}"""


def loading(file: str) -> str:
    """The Python that loads a network and runs it as it was scored."""
    return (
        "from delrec_bench.interchange import load_network\n\n"
        f'network = load_network("{file}")\n'
        "with network.deployed():\n    scores = network.classify(inputs)  # (T, B, channels) to (B, classes)"
    )


def model_card(model: Model, methods: MethodTable, tasks: TaskTable, licence: str = LICENCE) -> str:
    """The card of a model: YAML metadata (licence, tags, data, metrics with their values), then text.

    Args:
        model: With the record of its run, or without one: then no score is claimed.
        methods, tasks: Say where its method and data come from.
        licence: Of the weights, as hubs abbreviate it.

    Raises:
        BenchError: The licence is no such abbreviation.
    """
    if not (licence and all(c.isascii() and (c.isalnum() or c in ".-_") for c in licence)):
        raise BenchError(f"licence '{licence}' is no identifier such as mit, apache-2.0 or cc-by-4.0")
    record = model.record
    metadata: dict[str, Any] = {
        "license": licence,
        "library_name": "delrec",
        "tags": ["spiking-neural-networks", "delays", "neuromorphic", "pytorch", "safetensors"],
    }
    if record is not None:
        metadata |= _scored(model, record, tasks)
    parts = [
        f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---",
        f"# {model.name}",
        _what(model, record, methods),
        *([] if record is None else [_numbers(record), _data(record, tasks)]),
        f"## Loading\n\n```python\n{loading(WEIGHTS)}\n```\n\n"
        "It needs the package delrec-bench; of a method that is not in it, give `load_network` the table that holds "
        "it. Inside `deployed()` delays are whole steps and sigma is 0, as this suite scores.",
        f"## Citation\n\n```bibtex\n{_CITATION}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _scored(model: Model, record: Record, tasks: TaskTable) -> dict[str, Any]:
    name = record.task.partition(":")[0]
    metric = metric_named(record.metric)
    result = {
        "task": {"type": _HUB_TASKS.get(tasks[name].family, "other")},
        "dataset": {
            "type": name,
            "name": f"{record.task} ({_stamp(record)})",
            "split": "test",
            "revision": record.data["digest"],
        },
        "metrics": [{"type": record.metric, "name": f"test {metric.name}", "value": record.score, "verified": False}],
    }
    return {
        "datasets": [name],
        "metrics": [record.metric],
        "model-index": [{"name": model.name, "results": [result]}],
    }


def _stamp(record: Record) -> str:
    """Whose data it is, and whether all of it."""
    return str(record.data.get("stamp") or record.data["kind"])


def _what(model: Model, record: Record | None, methods: MethodTable) -> str:
    count = model.network.count()
    counted = (
        f"{count.total:,} parameters ({count.weights:,} weights, {count.delays:,} delays, {count.neuron:,} of neurons)"
    )
    if record is None:
        said = ", ".join(f"{name} {value}" for name, value in model.about.items())
        return f"A spiking network of {counted}" + (f"; {said}." if said else ".")
    method = methods[record.method]
    return (
        f"`{record.method}`: {method.summary}; learned: {record.learned}. {counted}. Trained on {record.task}, "
        f"repetition {record.repetition}.\n\nMethod: {method.source}"
    )


def _numbers(record: Record) -> str:
    result, metric = record.result, metric_named(record.metric)
    spikes = record.activity.get("spikes_per_neuron_step")

    def shown(score: float) -> str:
        return f"{metric.format(score)} {metric.unit}".strip()

    rows = {
        f"test {metric.name}": shown(record.score),
        "of": f"{result['correct']} of {result['total']} samples" if "correct" in result else None,
        f"validation {metric.name}": None if result.get("valid_score") is None else shown(result["valid_score"]),
        "chosen by": result.get("selection"),
        "epoch": f"{result['best_epoch']} of {result['epochs']}" if result.get("best_epoch") else None,
        "spikes per neuron and step": f"{spikes:.4g}" if isinstance(spikes, float) else None,
        "code revision": str(record.provenance.get("revision", "unknown"))[:12],
        "key of the record": record.key,
    }
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value)
    return (
        f"## Numbers\n\n| | |\n|---|---|\n{lines}\n\nOne run of one repetition; its record holds the prediction of "
        f"every test sample. Made by\n\n```sh\n{record.command}\n```"
    )


def _data(record: Record, tasks: TaskTable) -> str:
    task, data = tasks[record.task.partition(":")[0]], record.data
    step = f"{data['step_ms']:g} ms" if data.get("step_ms") else "no duration"
    shape = f"{data['steps']} steps of {step}, {data['channels']} channels, {data['classes']} classes"
    return (
        f"## Data\n\n{task.summary}. {task.source}; licence {task.licence}. Here {record.task} ({_stamp(record)}): "
        f"{shape}, digest `{data['digest']}`."
    )

"""The record of a run, from what was resolved, trained and scored."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from delrec_bench.config import Resolved
from delrec_bench.data.task_data import TaskData
from delrec_bench.environment import machine, provenance
from delrec_bench.metrics import metric_named
from delrec_bench.records import RESULTS_VERSION, Record, plain
from delrec_bench.training import Fit, Scored


def make_record(resolved: Resolved, *, result: dict[str, Any], measured: dict[str, Any], **more: Any) -> Record:
    """The record of a run; `more` are fields of `Record`."""
    data = resolved.data
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    return Record(
        kind="trial" if resolved.request.trial else resolved.method.kind,
        key=resolved.key,
        method=resolved.method.name,
        task=data.name,
        repetition=resolved.request.repetition,
        configuration=resolved.configuration,
        data=_described(resolved),
        metric=data.metric,
        result=result,
        profile=resolved.request.profile,
        point=plain(resolved.point),
        control=resolved.method.control,
        learned=resolved.method.learned,
        device=resolved.device,
        provenance={"results_version": RESULTS_VERSION, **_searched(resolved), **provenance()},
        command=resolved.command,
        measured={**measured, "host": machine(resolved.device), "finished_at": finished},
        **more,
    )


def _searched(resolved: Resolved) -> dict[str, Any]:
    """The searched preset that a run has its settings of."""
    return {} if resolved.searched is None else {"searched": resolved.searched}


def _described(resolved: Resolved) -> dict[str, Any]:
    data, options = resolved.data, resolved.options
    about = data.identity() | {
        "files": dict(data.files),
        "augmentation": "shift and blend, x 3" if options.augment else "none",
        "binning": options.binning,
        "validation": options.validation,
        "dropped_events": data.dropped_events,
        "notes": list(data.notes),
        "stamp": data.stamp,
        "used": data.used,
        "whole": dict(data.whole),
    }
    about.pop("name")
    return about


def result_of(data: TaskData, predictions: np.ndarray, fitted: Fit | None, selection: str) -> dict[str, Any]:
    """`Record.result`: test score, and how the epoch was chosen."""
    targets = data.test.targets
    total = len(targets)
    score = metric_named(data.metric).score(predictions, targets.numpy())
    out: dict[str, Any] = {"test_score": score, "total": total, "selection": selection}
    if data.classifies:
        out["correct"] = int((predictions == targets.numpy()).sum())
    if fitted is not None:
        validated = fitted.valid_score == fitted.valid_score  # NaN where a task has no validation set
        out |= {
            "best_epoch": fitted.best_epoch,
            "epochs": len(fitted.history),
            "valid_score": fitted.valid_score if validated else None,
            "selection": selection if validated or selection == "best-test" else "none",
        }
    return out


def columns_of(data: TaskData, predictions: np.ndarray) -> dict[str, Any]:
    """What the record keeps of each test sample."""
    return {"predictions": predictions, "targets": data.test.targets, "groups": data.test.speakers}


def counts_of(model: Any) -> dict[str, int]:
    """Parameters by kind."""
    counts = model.count()
    names = ("weights", "delays", "neuron", "trainable", "frozen", "total", "spreads", "learned_delays")
    return {name: getattr(counts, name) for name in names}


def activity_of(scored: Scored) -> dict[str, Any]:
    """What the test set made the network do."""
    names = ("spikes_per_neuron_step", "rates", "synaptic_operations", "delay_buffer")
    return {name: scored.activity[name] for name in names if name in scored.activity}

"""One run, from a request to its record: load, build, train, score the test set once (a trial: not at all), write.

A run's folder is `runs/<key>/`. The checkpoint is written first and `record.json` last, each in one step: where there
is a record the run is finished, and a run that was cut short leaves none.
"""

import io
import math
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from delrec_bench.config import Request, Resolved, resolve
from delrec_bench.data.samples import Cast
from delrec_bench.data.task_data import TaskData
from delrec_bench.environment import machine, peak_bytes, pin_threads, provenance, reset_peak
from delrec_bench.errors import RunError
from delrec_bench.methods.base import MethodTable
from delrec_bench.metrics import metric_named
from delrec_bench.records import RESULTS_VERSION, Record, canonical_json, finished_record, write_record
from delrec_bench.tasks.base import TaskTable
from delrec_bench.training import Evaluation, Fit, HeldOut, Progress, build, fit, score_test
from delrec_bench.workspace import Workspace, write_atomic

CHECKPOINT_SCHEMA = 1


@dataclass(frozen=True)
class Outcome:
    """A record, and whether it was there already."""

    record: Record
    reused: bool


def run(
    request: Request,
    methods: MethodTable,
    tasks: TaskTable,
    workspace: Workspace,
    progress: Progress | None = None,
) -> Outcome:
    """Do one run, or find that it was done.

    Raises:
        BenchError: The request or its data is wrong.
        RunError: Training failed.
    """
    return perform(resolve(request, methods, tasks, workspace), workspace, progress)


def perform(resolved: Resolved, workspace: Workspace, progress: Progress | None = None) -> Outcome:
    """Do a resolved run, unless its record is there."""
    done = finished_record(workspace.runs, resolved.key)
    if done is not None:
        return Outcome(done, True)
    record, checkpoint = _made(resolved, progress)
    folder = workspace.runs / resolved.key
    if checkpoint is not None:
        write_atomic(folder / "checkpoint.pt", checkpoint)
    write_record(folder / "record.json", record)
    return Outcome(record, False)


def _made(resolved: Resolved, progress: Progress | None) -> tuple[Record, bytes | None]:
    """The record and, of a network that is kept, its checkpoint."""
    pin_threads(resolved.request.threads)
    reset_peak()
    if resolved.method.floor:
        return _floor(resolved), None
    if resolved.request.trial:
        return _trial(resolved, progress), None
    return _train(resolved, progress)


def _fit(resolved: Resolved, model: Any, progress: Progress | None) -> Fit:
    data = resolved.data
    torch.manual_seed(resolved.seeds.stream("order"))  # dropout masks
    valid = data.valid if data.valid is not None and len(data.valid) else None
    return fit(
        model,
        Cast(data.train, resolved.dtype),
        None if valid is None else Cast(valid, resolved.dtype),
        resolved.training,
        metric=data.metric,
        seeds=resolved.seeds,
        device=resolved.device,
        progress=progress,
    )


def _trial(resolved: Resolved, progress: Progress | None) -> Record:
    """A trial of a search: trained as a run is, scored on validation data; the test set stays closed.

    One that diverges is a result too: it holds its place among the trials and is never chosen.
    """
    start, cpu = time.perf_counter(), time.process_time()
    model = build(resolved)
    fitted, failed = Fit(), None
    try:
        fitted = _fit(resolved, model, progress)
        if not math.isfinite(fitted.valid_score):
            failed = f"the validation score is {fitted.valid_score}"
    except RunError as error:
        failed = str(error)
    return _record(
        resolved,
        result={
            "valid_score": None if failed else fitted.valid_score,
            "best_epoch": fitted.best_epoch,
            "epochs": len(fitted.history),
            "selection": resolved.training.selection,
            "failed": failed,
        },
        history=fitted.history,
        parameters=_counts(model),
        engine=model.engines(),
        measured={
            "epoch_seconds": fitted.epoch_seconds,
            "peak_bytes": _peak(resolved.device),
            "wall_seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
        },
    )


def _train(resolved: Resolved, progress: Progress | None) -> tuple[Record, bytes]:
    data = resolved.data
    start, cpu = time.perf_counter(), time.process_time()
    device = resolved.device
    model = build(resolved)
    test = HeldOut(Cast(data.test, resolved.dtype))
    try:
        fitted = _fit(resolved, model, progress)
    except RunError as error:
        raise RunError(f"{resolved.method.name} on {data.name}, repetition {_repetition(resolved)}: {error}") from error
    scored = score_test(model, test, data.metric, device)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    record = _record(
        resolved,
        result=_result(data, scored.predictions.numpy(), fitted, resolved.training.selection),
        **_columns(data, scored.predictions.numpy()),
        history=fitted.history,
        parameters=_counts(model),
        activity=_activity(scored),
        engine=model.engines(),
        measured={
            "epoch_seconds": fitted.epoch_seconds,
            "peak_bytes": _peak(device),
            "wall_seconds": wall,
            "cpu_seconds": cpu,
        },
    )
    content = io.BytesIO()
    state = {name: value.cpu() for name, value in fitted.state.items()}
    torch.save(
        {
            "schema": CHECKPOINT_SCHEMA,
            "key": resolved.key,
            "configuration": canonical_json(resolved.configuration),
            "best_epoch": fitted.best_epoch,
            "state_dict": state,
        },
        content,
    )
    return record, content.getvalue()


def _floor(resolved: Resolved) -> Record:
    floor = resolved.method.floor
    assert floor is not None
    start = time.perf_counter()
    predictions = np.asarray(floor(resolved.data))
    measured = {"wall_seconds": time.perf_counter() - start, "peak_bytes": peak_bytes()}
    return _record(
        resolved,
        result=_result(resolved.data, predictions, None, "none"),
        **_columns(resolved.data, predictions),
        engine="none",
        measured=measured,
    )


def _record(resolved: Resolved, *, result: dict[str, Any], measured: dict[str, Any], **more: Any) -> Record:
    data = resolved.data
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    return Record(
        kind="trial" if resolved.request.trial else resolved.method.kind,
        key=resolved.key,
        method=resolved.method.name,
        task=data.name,
        repetition=_repetition(resolved),
        configuration=resolved.configuration,
        data=_described(resolved),
        metric=data.metric,
        result=result,
        study=None,
        control=resolved.method.control,
        learned=resolved.method.learned,
        device=resolved.device,
        provenance={"results_version": RESULTS_VERSION, **provenance()},
        command=replace(resolved.request, study=None).command(),
        measured={**measured, "host": machine(), "finished_at": finished},
        **more,
    )


def _repetition(resolved: Resolved) -> int:
    return resolved.request.repetition


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


def _result(data: TaskData, predictions: np.ndarray, fitted: Fit | None, selection: str) -> dict[str, Any]:
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
            "selection": selection if validated else "none",
        }
    return out


def _columns(data: TaskData, predictions: np.ndarray) -> dict[str, Any]:
    """What the record keeps of each test sample."""
    return {"predictions": predictions, "targets": data.test.targets, "groups": data.test.speakers}


def _counts(model: Any) -> dict[str, int]:
    counts = model.count()
    return {name: getattr(counts, name) for name in ("weights", "delays", "neuron", "trainable", "frozen", "total")}


def _activity(scored: Evaluation) -> dict[str, Any]:
    names = ("spikes_per_neuron_step", "rates", "synaptic_operations", "delay_buffer")
    return {name: scored.activity[name] for name in names if name in scored.activity}


def _peak(device: str) -> int:
    return int(torch.cuda.max_memory_allocated()) if device == "cuda" else peak_bytes()

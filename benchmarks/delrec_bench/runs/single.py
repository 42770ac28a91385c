"""One run, from a request to its record: load, build, train, score the test set once (a trial: not at all), write.

A run under a condition of evaluation is not trained: the run without it is done first, unless it is finished.

What is written where, and what survives a kill, is said in `runs.folder`: where there is a record the run is finished.
"""

import io
import math
import time
import traceback
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from delrec_bench.arithmetic import prepare
from delrec_bench.config import Request, Resolved, resolve
from delrec_bench.data.samples import Cast
from delrec_bench.environment import need_device, peak_bytes, reset_peak
from delrec_bench.errors import BenchError, DivergedError, RunError
from delrec_bench.methods.base import MethodTable
from delrec_bench.records import Record, canonical_json, finished_record, plain
from delrec_bench.runs.folder import Checkpoints, RunFolder
from delrec_bench.runs.recording import activity_of, columns_of, counts_of, make_record, result_of
from delrec_bench.runs.trained import load_weights
from delrec_bench.tasks.base import TaskTable
from delrec_bench.training import (
    CheckpointError,
    Fit,
    HeldOut,
    Progress,
    build,
    fit,
    multiplying,
    score_test,
    seed_everything,
)
from delrec_bench.training.delay_summary import summary as delays_of
from delrec_bench.workspace import Workspace

CHECKPOINT_SCHEMA = 1
Delays = dict[str, torch.Tensor]  # by layer, in steps


@dataclass(frozen=True)
class RunOutcome:
    """A record, and whether it was there already."""

    record: Record
    reused: bool


def run(
    request: Request,
    methods: MethodTable,
    tasks: TaskTable,
    workspace: Workspace,
    progress: Progress | None = None,
    *,
    wait: bool = True,
) -> RunOutcome:
    """Do one run, or find that it was done; `progress` gets {"begun": ...} first, then each epoch.

    Raises:
        BenchError: The request or its data is wrong.
        RunError: The run failed.
        BusyError: Another process is doing it, and `wait` is False.
    """
    resolved = resolve(request, methods, tasks, workspace)
    if progress is not None:
        names = ("method", "task", "repetition", "configuration", "command")
        about = {name: value for name, value in _about(resolved).items() if name in names}
        progress({"begun": {**about, "key": resolved.key, "study": request.study, "trial": request.trial}})
    return perform(resolved, workspace, progress, wait=wait)


def perform(
    resolved: Resolved, workspace: Workspace, progress: Progress | None = None, *, wait: bool = True
) -> RunOutcome:
    """Do a resolved run, unless its record is there; one that was cut short goes on from its last checkpoint.

    Of a derived run the trained one is done first, under its own lock and key.

    Args:
        resolved: What to do.
        workspace: Where.
        progress: Called after every epoch.
        wait: Wait for another process that does the same run; else `BusyError` is raised.

    Raises:
        RunError: The run failed; why, with the traceback, is kept in its folder.
    """
    folder = RunFolder(workspace.runs, resolved.key)
    if resolved.derived and finished_record(workspace.runs, resolved.key) is None:
        perform(resolved.trained(), workspace, progress, wait=wait)
    with folder.locked(wait) if finished_record(workspace.runs, resolved.key) is None else nullcontext():
        done = finished_record(workspace.runs, resolved.key)
        if done is not None:
            folder.tidy()
            return RunOutcome(done, True)
        try:
            with multiplying(resolved):
                record, checkpoint = _made(resolved, folder, workspace, progress)
        except BenchError:
            folder.forget()  # the request was refused
            raise
        except (Exception, SystemExit) as error:
            text = _told(resolved, error)
            lines, diverged = "".join(traceback.format_exception(error)), isinstance(error, DivergedError)
            folder.failed(_about(resolved) | {"diverged": diverged}, text, lines)
            if isinstance(error, RunError | SystemExit) or _place(resolved, error) is not None:
                raise RunError(f"{text}; traceback: {folder.path / 'failure.json'}") from error
            raise
        folder.finish(record, checkpoint)
    return RunOutcome(record, False)


def _about(resolved: Resolved) -> dict[str, Any]:
    """What names a run."""
    return {
        "method": resolved.method.name,
        "task": resolved.data.name,
        "repetition": resolved.request.repetition,
        "configuration": resolved.configuration,
        "profile": resolved.request.profile,
        "point": plain(resolved.point),
        "command": resolved.command,
    }


def _told(resolved: Resolved, error: BaseException) -> str:
    what = f"{resolved.method.name} on {resolved.data.name}, repetition {resolved.request.repetition}"
    if isinstance(error, RunError):
        return f"{what}: {error}"
    place = _place(resolved, error)
    return f"{what}: {type(error).__name__}: {error}" + (f" ({place})" if place else "")


def _place(resolved: Resolved, error: BaseException) -> str | None:
    """Where a method's own code, or what it called, raised; None where it was this suite: a bug."""
    entry = resolved.method.build or resolved.method.floor
    of_methods = ("delrec", "delrec_baselines", "torch", "delrec_bench.methods", getattr(entry, "__module__", "torch"))
    frames = list(traceback.walk_tb(error.__traceback__))
    names = [str(frame.f_globals.get("__name__", "")) for frame, _ in frames]
    if not any(name == own or name.startswith(f"{own}.") for name in names for own in of_methods):
        return None
    frame, line = [pair for pair, name in zip(frames, names, strict=True) if not name.startswith("torch")][-1]
    return f"{Path(frame.f_code.co_filename).name}, line {line}"


def _made(
    resolved: Resolved, folder: RunFolder, workspace: Workspace, progress: Progress | None
) -> tuple[Record, bytes | None]:
    """The record and, of a network that is kept, its checkpoint."""
    need_device(resolved.device)
    prepare(resolved.arithmetic, resolved.request.threads)
    reset_peak(resolved.device)
    if resolved.method.floor:
        return _floor(resolved), None
    if resolved.derived:
        key = resolved.trained().key
        trained = finished_record(workspace.runs, key)
        assert trained is not None
        return _derived(resolved, trained, workspace.runs / key / "checkpoint.pt"), None
    checkpoints = Checkpoints(folder, resolved.engine, resolved.request.threads, resolved.device)
    try:
        return (
            _trial(resolved, checkpoints, progress)
            if resolved.request.trial
            else _train(resolved, checkpoints, progress)
        )
    except (Exception, SystemExit):
        raise
    except BaseException:  # an interrupt, or the signal before a job's time limit
        checkpoints.save()
        raise
    finally:
        checkpoints.close()


def _fit(
    resolved: Resolved, checkpoints: Checkpoints, progress: Progress | None, test: HeldOut | None = None
) -> tuple[Any, Fit, Delays]:
    """The trained network, and the delays that it began with.

    A checkpoint that does not fit is set aside, and the training begins anew.
    """
    data = resolved.data
    valid = data.valid if data.valid is not None and len(data.valid) else None
    while True:
        model = build(resolved)
        began = model.delays()
        seed_everything(resolved.seeds.stream("order"))  # dropout masks, and whatever a method draws
        try:
            fitted = fit(
                model,
                Cast(data.train, resolved.dtype),
                None if valid is None else Cast(valid, resolved.dtype),
                resolved.training,
                metric=data.metric,
                seeds=resolved.seeds,
                device=resolved.device,
                progress=progress,
                keeper=checkpoints,
                test=test,
            )
            return model, fitted, began
        except CheckpointError as error:
            checkpoints.set_aside(str(error))


def _measured(checkpoints: Checkpoints, fitted: Fit) -> dict[str, Any]:
    return {"epoch_seconds": fitted.epoch_seconds, **checkpoints.spent()}


def _trial(resolved: Resolved, checkpoints: Checkpoints, progress: Progress | None) -> tuple[Record, None]:
    """A trial of a search: trained as a run is, scored on validation data; the test set stays closed.

    One that diverges is a result too: it holds its place among the trials and is never chosen.
    """
    fitted, failed = Fit(), None
    try:
        model, fitted, _ = _fit(resolved, checkpoints, progress)
        if not math.isfinite(fitted.valid_score):
            failed = f"the validation score is {fitted.valid_score}"
    except RunError as error:
        model, failed = build(resolved), str(error)
    record = make_record(
        resolved,
        result={
            "valid_score": None if failed else fitted.valid_score,
            "best_epoch": fitted.best_epoch,
            "epochs": len(fitted.history),
            "selection": resolved.training.selection,
            "failed": failed,
        },
        history=fitted.history,
        fingerprint=fitted.fingerprint or None,
        parameters=counts_of(model),
        engine=model.engines(),
        measured=_measured(checkpoints, fitted),
    )
    return record, None


def _train(resolved: Resolved, checkpoints: Checkpoints, progress: Progress | None) -> tuple[Record, bytes]:
    data = resolved.data
    test = HeldOut(Cast(data.test, resolved.dtype))
    model, fitted, began = _fit(resolved, checkpoints, progress, test)
    scored = score_test(model, test, data.metric, resolved.device)
    record = make_record(
        resolved,
        result=result_of(data, scored.predictions.numpy(), fitted, resolved.training.selection),
        **columns_of(data, scored.predictions.numpy()),
        history=fitted.history,
        fingerprint=fitted.fingerprint or None,
        parameters=counts_of(model),
        activity=activity_of(scored),
        delays=delays_of(began, model) or None,
        engine=model.engines(),
        measured=_measured(checkpoints, fitted),
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


def _derived(resolved: Resolved, trained: Record, checkpoint: Path) -> Record:
    """The record of a derived run: no history, a score; `resolved.trained()` says what it is derived from.

    What a condition draws, of events or of delays, is fixed by the seed of the repetition's order: methods compared at
    one repetition meet the same disturbed samples.

    Args:
        resolved: The derived run.
        trained: The record of the run that was trained.
        checkpoint: Its network.

    Raises:
        BenchError: The checkpoint is not there or of another run, or the condition does not suit the network.
    """
    start, cpu = time.perf_counter(), time.process_time()
    data, under = resolved.data, resolved.evaluation
    seed = resolved.seeds.stream("order", "evaluation")
    model = build(resolved)
    load_weights(model, checkpoint, trained)
    samples = data.test if under.condition is None else data.under(under.condition, seed)
    test = HeldOut(Cast(samples, resolved.dtype))
    scored = score_test(model, test, data.metric, resolved.device, under=under, seed=seed)
    predictions = scored.predictions.numpy()
    return make_record(
        resolved,
        result=result_of(data, predictions, None, trained.result["selection"]),
        **columns_of(data, predictions),
        parameters=counts_of(model),
        activity=activity_of(scored),
        engine=model.engines(),
        measured={
            "wall_seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
            "peak_bytes": peak_bytes(resolved.device),
        },
    )


def _floor(resolved: Resolved) -> Record:
    floor = resolved.method.floor
    assert floor is not None
    start = time.perf_counter()
    predictions = np.asarray(floor(resolved.data))
    measured = {"wall_seconds": time.perf_counter() - start, "peak_bytes": peak_bytes()}
    return make_record(
        resolved,
        result=result_of(resolved.data, predictions, None, "none"),
        **columns_of(resolved.data, predictions),
        engine="none",
        measured=measured,
    )

"""One run, from what was resolved to its record: build, train, score the test set once (a trial: not at all), write.

`runs.folder` says what is written where, and what survives a kill.
"""

import io
import math
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch
from delrec import count_parameters

from delrec_bench.arithmetic import prepare
from delrec_bench.config import Resolved
from delrec_bench.environment import need_device, peak_bytes, reset_peak
from delrec_bench.errors import BenchError, DivergedError, RunError, no_room, raised
from delrec_bench.records import Record, finished_record
from delrec_bench.runs.folder import Checkpoints, RunFolder
from delrec_bench.runs.recording import make_record, scored
from delrec_bench.runs.trained import load_weights
from delrec_bench.training.delay_summary import summary as delays_of
from delrec_bench.training.loop import Fit, Progress, build, engines_of, exact, fit
from delrec_bench.training.resuming import CheckpointError, seed_everything
from delrec_bench.training.scoring import HeldOut, score_test
from delrec_bench.workspace import Workspace


def perform(resolved: Resolved, workspace: Workspace, progress: Progress | None = None) -> tuple[Record, bool]:
    """Do a resolved run, unless its record is there; one that was cut short goes on from its last checkpoint.

    Of a derived run the trained one is done first, under its own lock and key. `progress` is called after every epoch.
    Why a run failed (a `RunError`) is kept in its folder, with the traceback.
    """
    folder = RunFolder(workspace.runs, resolved.key)
    done = finished_record(workspace.runs, resolved.key)
    if done is None:
        if "evaluation" in resolved.configuration:
            perform(resolved.trained(), workspace, progress)
        with folder.locked():
            done = finished_record(workspace.runs, resolved.key)  # by another process, meanwhile
            if done is None:
                return _kept(resolved, folder, progress), False
    folder.tidy()
    return done, True


def _kept(resolved: Resolved, folder: RunFolder, progress: Progress | None) -> Record:
    """The record, made and written; of a failure its folder says why."""
    asked = resolved.asked
    try:
        with exact(resolved.device):
            record, checkpoint = _made(resolved, folder, progress)
    except BenchError:  # the request was refused
        raise
    except (Exception, SystemExit) as error:
        if no_room(error, inside=True):
            raise
        text = str(error)
        if not isinstance(error, RunError):
            text = raised(error)
        text = f"{asked.method} on {asked.task}, repetition {asked.repetition}: {text}"
        whole = "".join(traceback.format_exception(error))
        folder.failed(asked, text, whole, diverged=isinstance(error, DivergedError))
        raise RunError(f"{text}; traceback: {folder.path / 'failure.json'}") from error
    folder.finish(record, checkpoint)
    return record


def _made(resolved: Resolved, folder: RunFolder, progress: Progress | None) -> tuple[Record, bytes | None]:
    """The record and, of a network that is kept, its checkpoint."""
    settings = resolved.configuration
    need_device(resolved.device)
    prepare(settings["arithmetic"], settings["threads"])
    reset_peak(resolved.device)
    if resolved.method.floor is not None:
        start = time.perf_counter()
        predictions, data = np.ravel(resolved.method.floor(resolved.data)), resolved.data
        said = [f"{predictions[bad][0]}, which {why}" for bad, why in data.impossible(predictions) if bad.any()]
        if len(predictions) != len(data.test):
            said = [f"{len(predictions)} predictions for {len(data.test)} samples"]
        if said:
            raise BenchError(f"method '{resolved.method.name}': its floor gives {said[0]}")
        measured = {"wall_seconds": time.perf_counter() - start, "peak_bytes": peak_bytes()}
        of_floor = scored(resolved, predictions, "none")
        return make_record(resolved, **of_floor, engine="none", measured=measured), None
    if "evaluation" in settings:
        return _derived(resolved, folder.path.parent), None
    checkpoints = Checkpoints(folder, resolved.device)
    try:
        return _trained(resolved, checkpoints, progress)
    except BaseException as error:
        if not isinstance(error, Exception | SystemExit):  # an interrupt, or the signal before a job's time limit
            checkpoints.save()
        raise


def _fit(
    resolved: Resolved, checkpoints: Checkpoints, progress: Progress | None, test: HeldOut | None
) -> tuple[Any, Fit, dict[str, torch.Tensor]]:
    """The trained network, and by layer the delays that it began with.

    A checkpoint that does not fit is dropped, and the training begins anew.
    """
    data = resolved.data
    while True:
        model = build(resolved)
        began = model.delays()
        seed_everything(resolved.seeds.stream("order"))  # dropout masks, and whatever a method draws
        try:
            fitted = fit(
                model,
                data.train,
                data.valid or None,
                resolved.training,
                metric=data.metric,
                seeds=resolved.seeds,
                device=resolved.device,
                progress=progress,
                keeper=checkpoints,
                test=test,
                classes=data.classes,
            )
            return model, fitted, began
        except CheckpointError as error:
            checkpoints.drop(str(error))


def _trained(resolved: Resolved, checkpoints: Checkpoints, progress: Progress | None) -> tuple[Record, bytes | None]:
    """The record of a training, and its network.

    A trial of a search is scored on validation data, and the test set stays closed. One that diverges is a result too:
    it holds its place among the trials and is never chosen.
    """
    trial, failed = resolved.configuration.get("kind") == "trial", None
    test = None if trial else HeldOut(resolved.data.test)
    try:
        model, fitted, began = _fit(resolved, checkpoints, progress, test)
        if trial and not math.isfinite(fitted.valid_score):
            failed = f"the validation score is {fitted.valid_score}"
    except RunError as error:
        if not trial:
            raise
        model, fitted, began, failed = build(resolved), Fit(), {}, str(error)
    if test is None:
        result = {
            "valid_score": None if failed else fitted.valid_score,
            "best_epoch": fitted.best_epoch,
            "epochs": len(fitted.history),
            "selection": resolved.training.selection,
            "failed": failed,
        }
        of_test: dict[str, Any] = {"result": result}
    else:
        scores = score_test(model, test, resolved.data.metric, resolved.device)
        of_test = scored(resolved, scores.predictions.numpy(), resolved.training.selection, fitted)
        of_test |= {"activity": scores.activity, "delays": delays_of(began, model) or None}
    record = make_record(
        resolved,
        **of_test,
        history=fitted.history,
        fingerprint=fitted.fingerprint or None,
        parameters=count_parameters(model),
        engine=engines_of(model),  # known once it has run: a training that was resumed at its end has not
        measured={"epoch_seconds": fitted.epoch_seconds, **checkpoints.spent()},
    )
    if test is None:
        return record, None
    content = io.BytesIO()
    state = {name: value.cpu() for name, value in fitted.state.items()}
    torch.save({"key": resolved.key, "best_epoch": fitted.best_epoch, "state_dict": state}, content)
    return record, content.getvalue()


def _derived(resolved: Resolved, runs: Path) -> Record:
    """The record of a derived run: no history, a score; `resolved.trained()` says what it is derived from.

    What a condition draws, of events or of delays, is fixed by the seed of the repetition's order: methods compared at
    one repetition meet the same disturbed samples.
    """
    start, cpu = time.perf_counter(), time.process_time()
    key, data, under = resolved.trained().key, resolved.data, resolved.evaluation
    trained = finished_record(runs, key)
    assert trained is not None
    seed = resolved.seeds.stream("order", "evaluation")
    model = build(resolved)
    load_weights(model, runs / key / "checkpoint.pt", trained)
    samples = data.test
    if under.condition is not None and data.under is not None:
        samples = data.under(under.condition, seed)
    test = HeldOut(samples)
    scores = score_test(model, test, data.metric, resolved.device, under=under, seed=seed)
    return make_record(
        resolved,
        **scored(resolved, scores.predictions.numpy(), trained.result["selection"]),
        parameters=count_parameters(model),
        activity=scores.activity,
        engine=engines_of(model),
        measured={
            "wall_seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
            "peak_bytes": peak_bytes(resolved.device),
        },
    )

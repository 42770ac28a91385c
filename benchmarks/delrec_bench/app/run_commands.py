"""Commands that make runs of their own: run, rerun, search."""

import itertools
import time
from typing import TYPE_CHECKING, Annotated, Any

from delrec_bench.app import options
from delrec_bench.app.command_line import command
from delrec_bench.app.options import Answer, Places, argument, option
from delrec_bench.environment import say

if TYPE_CHECKING:
    from delrec_bench.records import Record

_PROFILES = "Preset: quick (minutes), embedded (hours), paper, paper-2025 or equi-parameter (published settings)."
_SETTINGS = "Change a setting: training.*, network.*, task.*, seeds.*, dtype, budget."
TaskArgument = Annotated[str, argument("A task (see delrec-bench list tasks).")]


@command(
    "Run",
    ("run lif digits", "about a minute"),
    ("run delrec-axonal shd --data ~/corpora/shd --profile equi-parameter --repetition 2", "on your own files"),
    ("run dcls ps-mnist --data ~/mnist --limit 2000 --epochs 2 --set hidden=32,64,64", "with other settings"),
    ("run mine digits --methods ./my-methods --json", "your own method, with JSON output"),
)
def run(
    places: Places,
    method: Annotated[str, argument("A method (see delrec-bench list methods).")],
    task: TaskArgument,
    repetition: Annotated[int, option("Which repetition: 0, 1, ... Determines all seeds.", metavar="R")] = 0,
    profile: Annotated[str, option(_PROFILES, metavar="P")] = "quick",
    epochs: Annotated[int | None, option("Number of training epochs.", metavar="N")] = None,
    limit: Annotated[int | None, option("Maximum number of training samples.", metavar="N")] = None,
    data: options.Data = None,
    device: options.Device = "cpu",
    engine: Annotated[str, option("Engine: auto, reference, cpu or triton.", metavar="NAME")] = "auto",
    threads: Annotated[int, option("Threads for delrec's kernels (native: also for torch).", metavar="N")] = 1,
    arithmetic: options.Arithmetic = "portable",
    trial: Annotated[bool, option("Hyperparameter trial: separate seeds, validation score only.", "--trial")] = False,
    settings: Annotated[list[str] | None, option(_SETTINGS, "--set", metavar="KEY=VALUE")] = None,
) -> Answer:
    """Train one network and store the result.

    If the run already exists, its result is shown instead.
    """
    from delrec_bench.config import Request, parse_setting
    from delrec_bench.records import plain
    from delrec_bench.runs.tracked import do_tracked

    values: dict[str, Any] = {"device": device, "arithmetic": arithmetic}  # checked by the model
    values |= {"profile": profile, "epochs": epochs, "limit": limit, "data": data, "engine": engine}
    overrides = tuple(parse_setting(text) for text in settings or ())
    request = Request(method, task, repetition, threads=threads, overrides=overrides, trial=trial, **values)
    workspace, start = places.workspace, time.perf_counter()
    place = places.place
    plan = place.plan(request)
    own, used = place.tables()[0][method].settings, plan.asked.configuration["network"] or {}
    changed = [f"{name} = {used[name]}" for name in own if name in used and used[name] != plain(own[name])]
    if changed:
        say(f"preset, budget and --set change the defaults of {method}: {', '.join(changed)}")

    count = itertools.count(1)  # epochs of this call, which may go on after those of another

    def progress(entry: dict[str, Any]) -> None:
        epoch, epochs = entry["epoch"], entry["epochs"]
        shown = [name for name in entry if name == "loss" or name.startswith(("train_", "valid_"))]
        scores = "  ".join(f"{name} {entry[name]:.4g}" for name in shown if name != "valid_loss")
        left = (time.perf_counter() - start) / next(count) * (epochs - epoch)
        duration = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} minutes"
        say(f"epoch {epoch}/{epochs}  {scores}  about {duration} left")

    done = do_tracked(plan, place, progress)
    record = done.record(workspace)
    path = str(workspace.runs / record.key / "record.json")
    text = f"{_shown(record)}\n{'already done' if done.reused else 'written'}: {path}"
    return Answer(_content(record) | {"record": path}, text)


def _content(record: "Record") -> dict[str, Any]:
    names = ("key", "method", "task", "repetition", "engine", "device", "metric", "parameters")
    content = {name: getattr(record, name) for name in names} | {"data_digest": record.data["digest"]}
    results = ("epochs", "best_epoch", "valid_score", "test_score", "correct", "total")
    content |= {name: record.result.get(name) for name in results}
    for part in ("valid", "test"):
        content[f"{part}_accuracy"] = content[f"{part}_score"] if record.metric == "accuracy" else None
    content |= {name: record.activity.get(name) for name in ("spikes_per_neuron_step", "synaptic_operations")}
    return content | {name: record.measured.get(name) for name in ("wall_seconds", "peak_bytes")}


def _shown(record: "Record") -> str:
    from delrec_bench.metrics import metric_named

    result, metric = record.result, metric_named(record.metric)
    part = "valid" if record.kind == "trial" else "test"
    said = f"{part} {metric.format(result[f'{part}_score'])} {metric.unit}"
    said += f" ({result['correct']} of {result['total']})" if result.get("correct") is not None else ""
    if failed := result.get("failed"):
        said = f"failed: {failed}"
    if result.get("best_epoch"):
        said += f", epoch {result['best_epoch']} of {result['epochs']} (chosen by: {result['selection']})"
    parts = [f"{record.parameters.get(name) or 0} {name}" for name in ("weights", "delays", "neuron")]
    counts = f"\nparameters {record.parameters['total']} ({', '.join(parts)})" if record.parameters else ""
    return f"{record.method} on {record.task}, repetition {record.repetition}: {said}{counts}"


@command("Run", ("rerun 3f2a", "repeat the run whose key starts with 3f2a and compare"))
def rerun(
    places: Places,
    record: Annotated[str, argument("A record.json, or the first characters of a run's key.")],
    data: options.Data = None,
) -> Answer:
    """Repeat a run and check whether it is equal, consistent or different (exit code 1)."""
    from delrec_bench.records import find_record, read_store
    from delrec_bench.runs.again import rerun as made_again
    from delrec_bench.statistics.reproduced import MadeTwice, judge, row_of

    workspace = places.workspace
    found = find_record(record, workspace)
    made = made_again(found, places.place, data)
    stored = [r for r in read_store(workspace.reports, [found.task])[0] if r.kind == found.kind]
    alike = [r.score for r in stored if row_of(r) == row_of(found)]
    [row] = judge([MadeTwice(str(found), [(found, made)], alike)]).rows
    content = {"key": found.key, "again": made.key, "word": row.word, "reason": row.reason}
    return Answer(content, str(row), 1 if row.word == "different" else 0)


@command(
    "Run",
    ("search delrec-axonal digits --size 10000 --dry-run", "number of trials and core hours"),
    ("search delrec-axonal digits --size 10000 --jobs 2", "search, and store the settings for all studies"),
    ("search delrec-axonal digits --size 10000 --seed 1", "independent: measures the variance due to tuning"),
)
def search(
    places: Places,
    method: Annotated[str, argument("The method; versions with learned and fixed delays are searched together.")],
    task: TaskArgument,
    size: Annotated[int | None, option("Parameters (default: the profile's widths).", min=1, metavar="N")] = None,
    profile: Annotated[str, option("Preset for all other settings, including epochs.", metavar="P")] = "embedded",
    data: options.Data = None,
    draws: Annotated[int, option("Random draws, trained for a quarter of the epochs.", min=1, metavar="N")] = 24,
    finals: Annotated[int, option("Number of best draws to train in full.", min=1, metavar="N")] = 6,
    splits: Annotated[int, option("Number of validation splits for those.", min=1, metavar="N")] = 3,
    seed: Annotated[int, option("Seed of the draws: 0 sets the preset, others are independent searches.", min=0)] = 0,
    device: options.Device = "cpu",
    jobs: options.Jobs = None,
    dry_run: options.DryRun = False,
) -> Answer:
    """Search the hyperparameters of a method on a task.

    Draws learning rates, tau, sigma and dropout at random and selects on validation data; the test set is not used.
    Finished trials are reused. The result is written to config/searched/TASK.json.
    """
    from delrec_bench.config.searched import keep, tuning_variance
    from delrec_bench.studies.searching import Searching, entry_of

    members = entry_of(method, places.tables()[0])
    one = Searching(
        options.work_of(places, jobs), task, profile, members, size, data, device, draws, finals, splits, seed
    )
    cost = one.cost()
    say(f"{', '.join(members)} on {task}, size {one.size}, seed {seed}: {cost}")
    content = {"methods": list(members), "size": one.size, "trials": cost.runs, "core_hours": cost.seconds / 3600}
    if dry_run:
        return Answer(content)
    found = one.run()
    path = keep(task, found)
    say(f"draw {found.chosen}, mean validation score {found.score:.4f}: {path}")
    name = found.name(task)
    return Answer(content | {"name": name, "file": str(path), "tuning_variance": tuning_variance(name)})

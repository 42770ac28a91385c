"""Made-up records for the report's tests: plausible shapes, no claim about any method."""

import random
from dataclasses import fields, replace
from itertools import product

import numpy as np
import short_runs
from delrec_bench.config import settle
from delrec_bench.metrics import metric_named
from delrec_bench.records import RESULTS_VERSION, Asked, Failure, Record, expected_key
from delrec_bench.report import words
from delrec_bench.report.content import build
from delrec_bench.report.declared import Comparison, Declaration, Expected
from delrec_bench.studies.expansion import Study, expand
from delrec_bench.workspace import base_and_folder

TASKS = {
    "digits": ("EMBEDDED", 64, 10, 0.80, 0.70),
    "formants-20": ("EMBEDDED", 100, 20, 0.72, 0.75),
    "shd": ("OFFICIAL", 100, 20, 0.80, 0.60),
}
METHODS = {  # name: (learned, control, weights, delays, gain)
    "lif": ("weights", None, 10_504, 0, 0.0),
    "rlif": ("weights", "lif", 9_828, 0, -0.04),
    "dcls-fixed": ("weights", "lif", 9_828, 620, 0.02),
    "dcls": ("weights, feedforward delays", "dcls-fixed", 9_828, 620, 0.05),
    "delrec-axonal-fixed": ("weights", "rlif", 9_828, 42, 0.06),
    "delrec-axonal": ("weights, recurrent delays", "delrec-axonal-fixed", 9_828, 42, 0.065),
    "delrec-synaptic-fixed": ("weights", "rlif", 9_828, 1_764, 0.055),
    "delrec-synaptic": ("weights, recurrent delays", "delrec-synaptic-fixed", 9_828, 1_764, 0.07),
}
PAIR = ("delrec-synaptic", "delrec-synaptic-fixed")
KNOWN = {name: replace(task, title="") for name, task in short_runs.TASKS.items()}


def made(**values):
    """A record whose key follows from it."""
    record = Record(**(values | {"key": "0" * 64}))
    return record.changed(key=expected_key(record))


def remade(record, **changes):
    """A record with other fields, under the key that follows from them."""
    aside = ("key", "version", "digest")
    fields = {name: getattr(record, name) for name in type(record).model_fields if name not in aside}
    return made(**(fields | changes))


def failure_of(record, **changes):
    """What is kept where this run diverged instead."""
    asked = {name: getattr(record, name) for name in Asked.model_fields}
    told = {"error": "NaN", "traceback": "secret", "diverged": True, "attempts": 1, "failed_at": "2026-01-02"}
    return Failure(**(asked | told | changes))


def record(method, task, repetition, kind="run", **changes):
    """A run or a floor, its score drawn around the method's own."""
    stamp, steps, classes, base, floor = TASKS[task]
    learned, control, weights, delays, gain = METHODS.get(method, ("nothing recurrent", None, 0, 0, 0.0))
    rng = random.Random(f"{method} {task} {repetition}")
    rate = base + gain + rng.gauss(0, 0.008) if kind == "run" else floor - 0.15 * (method == "counts")
    rate, total = min(rate, 0.99), 600
    targets = [i % classes for i in range(total)]
    predictions = [t if rng.random() < rate else (t + 1) % classes for t in targets]
    correct = sum(p == t for p, t in zip(predictions, targets, strict=True))
    fixed = method.endswith("-fixed")
    values = {
        **{"kind": kind, "method": method, "task": task, "repetition": repetition, "profile": "quick"},
        **{"control": control, "learned": learned, "engine": "cpu", "device": "cpu", "metric": "accuracy"},
        **{"predictions": predictions, "targets": targets},
        "configuration": {
            **{"method": method, "repetition": repetition, "device": "cpu", "engine": "cpu", "threads": 1},
            **{"task": {"name": task, "step_ms": 14.0}, "network": {"hidden": [42, 42]}, "epochs": 10},
            **{"seeds": {"split": repetition, "initialisation": repetition}, "arithmetic": "portable"},
        },
        "data": {
            **{"kind": stamp, "digest": (task.encode().hex() * 20)[:64], "classes": classes, "channels": 140},
            **{"steps": steps, "step_ms": 14.0, "representation": "counts", "augmentation": None},
            **{"dropped_events": 0, "sizes": {"train": 2000, "valid": 400, "test": total}},
        },
        "result": {"selection": "validation", "test_score": correct / total, "correct": correct, "total": total},
        "provenance": {"results_version": RESULTS_VERSION, "revision": "0123456789abcdef", "dirty": False},
        "command": f"delrec-bench run {method} {task} --repetition {repetition} --profile quick",
        "measured": {"wall_seconds": 12.0, "host": "made-up, 2 cores", "finished_at": "2026-01-02T03:04:05+00:00"},
    }
    if kind == "run":
        values["result"] |= {"best_epoch": 7, "epochs": 10, "valid_score": rate}
        values["history"] = [{"epoch": e, "loss": 2.0 / e, "valid_accuracy": rate} for e in range(1, 11)]
        counts = {"weights": weights, "delays": delays, "neuron": 0, "spreads": 0, "total": weights + delays}
        counts |= {"trainable": weights + delays * (not fixed), "frozen": delays * fixed}
        values["parameters"] = counts | {"learned_delays": delays * (not fixed)}
        values["activity"] = {
            "spikes_per_neuron_step": 0.06,
            "synaptic_operations": {"effective_acs": 120_000, "effective_macs": 9_000, "dense": 2_000_000},
        }
    return made(**(values | changes))


def latency(method, task, train=1.3, batch1=None):
    like = record(method, task, 0)
    result = {"train_ratio": train, "train_ms": 5 * train, "train_ms_iqr": [5 * train - 0.05, 5 * train + 0.06]}
    result |= {"infer_ratio": 1.12, "infer_ms": 2.24, "infer_ms_iqr": [2.22, 2.26], "batch1_ratio": batch1}
    names = ("method", "task", "data", "measured", "provenance", "configuration", "device", "parameters", "learned")
    values = {name: getattr(like, name) for name in names}
    return made(kind="latency", repetition=0, metric="accuracy", result=result, **values)


def forecast(method, repetition, scale):
    """A record of a forecast, whose score is an error."""
    rng = random.Random(f"{method} {repetition}")
    truth = random.Random("mackey-glass")
    targets = [truth.gauss(0, 1) for _ in range(200)]
    predictions = [t + scale * rng.gauss(0, 1) for t in targets]
    like = record(method, "digits", repetition)
    values = {"task": "mackey-glass", "metric": "nmse", "predictions": predictions, "targets": targets}
    values["configuration"] = like.configuration | {"task": {"name": "mackey-glass", "tau": 17, "horizon": 20}}
    values["data"] = like.data | {"digest": "c" * 64, "sizes": {"train": 700, "valid": 100, "test": 200}}
    values["result"] = {"test_score": metric_named("nmse").score(predictions, targets)}
    values["command"] = f"delrec-bench run {method} mackey-glass --repetition {repetition} --profile quick"
    return remade(like, **values)


def everything(repetitions=3):
    """A whole study: three spike tasks with floors and latency, and one forecast."""
    made = [record(m, t, r) for t in TASKS for m in METHODS for r in range(repetitions)]
    made += [record(m, t, 0, kind="floor") for t in TASKS for m in ("counts", "time-slices")]
    made += [latency(m, t, 1.0 + 0.05 * i, batch1=1.4) for t in TASKS for i, m in enumerate(METHODS)]
    errors = {"rlif": 0.43, "delrec-synaptic-fixed": 0.22, "delrec-synaptic": 0.18}
    return made + [forecast(m, r, scale) for m, scale in errors.items() for r in range(repetitions)]


def declared(records, primary=PAIR, **changes):
    """The declaration of a page that asks for exactly these runs; `primary` is a `Comparison`, or its rows."""
    of_study = {"page": "made-up", "question": "Does learning help?", "argument": "made-up"}
    of_study["margin"] = {"digits": 0.01, "formants-20": 0.01, "shd": 0.01, "mackey-glass": 0.02}
    known = {field.name for field in fields(Study)} - {field.name for field in fields(Declaration)}
    of_study |= {name: changes.pop(name) for name in [*changes] if name in known}
    asked = {r.key: Expected(r.method, r.control, r.method) for r in records if r.kind in ("run", "floor")}
    runs = changes.pop("runs", asked)
    over = tuple(task for task in KNOWN if any(base_and_folder(r.task)[0] == task for r in records))
    pair = Comparison(*primary, over=over) if type(primary) is tuple else primary
    values = {"runs": runs, "awaited": tuple(runs), "primary": pair, "tasks": KNOWN} | changes
    return Declaration(Study("made-up", "quick", (), **of_study), **values)


def page_of(records, **changes):
    return build(declared(records, **changes), records)


def scored_at(method, repetition, score, task="digits", total=1000, **changes):
    like = record(method, task, repetition)
    correct = round(score * total)
    columns = {"predictions": [0] * correct + [1] * (total - correct), "targets": [0] * total, "groups": None}
    result = {"test_score": correct / total, "correct": correct, "total": total}
    data = like.data | {"sizes": like.data["sizes"] | {"test": total}}
    return remade(like, **(columns | {"result": like.result | result, "data": data} | changes))


def pair_of(gain, n=8, tasks=("digits", "formants-20", "shd"), spread=0.004):
    """`PAIR` with a gain in accuracy that varies a little with task and repetition."""
    return [
        scored_at(m, r, 0.70 + (gain + spread * ((r + i) % 3 - 1) if m == PAIR[0] else 0.0), task=t)
        for i, t in enumerate(tasks)
        for m in PAIR
        for r in range(n)
    ]


def history(record_, epochs=6):
    lines = [{"epoch": e + 1, "valid_accuracy": 0.5 + 0.05 * e + 0.01 * record_.repetition} for e in range(epochs)]
    return record_.changed(history=lines)


def swept(axes, tasks=("digits", "formants-20"), n=4):
    """Records of a sweep of `PAIR`, and what its page declares of them: (records, runs).

    Scores rise by 0.01 a value along the first axis; learned delays gain 0.02.
    """
    records, runs, along = [], {}, next(iter(axes.values()))
    for task, values, method, r in product(tasks, product(*axes.values()), PAIR, range(n)):
        point = tuple(zip(axes, values, strict=True))
        first = along.index(values[0])
        score = 0.5 + 0.01 * first + 0.02 * (method == PAIR[0]) + 0.002 * ((r + first) % 3)
        like = scored_at(method, r, score, task=task, total=600)
        network = like.configuration["network"] | dict(point)
        records.append(remade(like, configuration=like.configuration | {"network": network}))
        at = f" ({', '.join(f'{axis} {value}' for axis, value in point)})"
        control = PAIR[1] + at if method == PAIR[0] else None
        runs[records[-1].key] = Expected(method + at, control, method, point, method + words.place(point))
    return records, runs


def layer_delays(start, end):
    """One layer of `Record.delays`, from all its delays."""
    moved = float(np.mean(np.round(start) != np.round(end)))
    deciles = [[float(v) for v in np.quantile(values, np.linspace(0, 1, 11))] for values in (start, end)]
    return {"layer": "blocks.0.spiking", "kind": "recurrent", "moved": moved, "start": deciles[0], "end": deciles[1]}


def of_the_board(profile, n, task, names, score, row_of=None):
    """Runs of the leaderboard's own settings on a task, or a stand-in of it; `score` is of (method, repetition)."""
    methods, tasks = short_runs.METHODS, short_runs.TASKS
    for request in expand("leaderboard", profile, methods, tasks).requests:
        if request.method in names and request.task == task and request.repetition < n:
            like = scored_at("delrec-axonal", request.repetition, score(request.method, request.repetition))
            kind = methods[request.method].kind
            stand_in = {"kind": "STAND-IN", "stamp": "STAND-IN", "classes": 10} if row_of else {}
            yield remade(
                like, kind=kind, method=request.method, task=row_of or task, data=like.data | stand_in,
                configuration=settle(request, methods[request.method], tasks[task]).values,
                parameters=like.parameters if kind == "run" else {}, command=request.command(),
            )  # fmt: skip

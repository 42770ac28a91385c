"""Made-up records for the report's tests: plausible shapes, no claim about any method."""

import random

import numpy as np
from delrec_bench.metrics import metric_named
from delrec_bench.records import RESULTS_VERSION, Record, expected_key
from delrec_bench.report.declared import Declaration, Expected, Primary

TASKS = {
    "digits": ("EMBEDDED", 64, 10, 0.80, 0.70),
    "tones": ("EMBEDDED", 100, 20, 0.72, 0.75),
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
HOST = {"cpu": "a made-up processor", "cores": 2}


def made(**values):
    """A record whose key follows from it."""
    record = Record(**(values | {"key": "0" * 64}))
    return record.changed(key=expected_key(record))


def remade(record, **changes):
    """A record with other fields, under the key that follows from them."""
    aside = ("key", "version", "digest")
    fields = {name: getattr(record, name) for name in type(record).model_fields if name not in aside}
    return made(**(fields | changes))


def scored(rng, total, rate, classes):
    targets = [i % classes for i in range(total)]
    predictions = [t if rng.random() < rate else (t + 1) % classes for t in targets]
    correct = sum(p == t for p, t in zip(predictions, targets, strict=True))
    result = {
        "best_epoch": 7,
        "epochs": 10,
        "selection": "validation",
        "valid_score": rate,
        "test_score": correct / total,
        "correct": correct,
        "total": total,
    }
    return {"result": result, "predictions": predictions, "targets": targets}


def record(method, task, repetition, kind="run", **changes):
    stamp, steps, classes, base, floor = TASKS[task]
    learned, control, weights, delays, gain = METHODS.get(method, ("nothing recurrent", None, 0, 0, 0.0))
    rng = random.Random(f"{method} {task} {repetition}")
    rate = base + gain + rng.gauss(0, 0.008) if kind == "run" else floor - 0.15 * (method == "counts")
    scores = scored(rng, 600, min(rate, 0.99), classes)
    if kind == "floor":
        for name in ("best_epoch", "epochs", "valid_score"):
            del scores["result"][name]
    configuration = {
        "method": method,
        "repetition": repetition,
        "device": "cpu",
        "task": {"name": task, "step_ms": 14.0},
        "network": {"hidden": [42, 42]},
        "seeds": {"split": repetition, "initialisation": repetition},
        "engine": "cpu",
        "threads": 1,
        "arithmetic": "portable",
        "epochs": 10,
    }
    values = {
        "kind": kind,
        "method": method,
        "task": task,
        "repetition": repetition,
        "profile": "quick",
        "control": control,
        "configuration": configuration,
        "data": {
            "kind": stamp,
            "digest": (task.encode().hex() * 20)[:64],
            "classes": classes,
            "channels": 140,
            "steps": steps,
            "step_ms": 14.0,
            "representation": "counts",
            "augmentation": None,
            "dropped_events": 0,
            "sizes": {"train": 2000, "valid": 400, "test": 600},
        },
        "metric": "accuracy",
        **scores,
        "history": [{"epoch": e, "loss": 2.0 / e, "valid_accuracy": rate} for e in range(1, 11)]
        if kind == "run"
        else [],
        "learned": learned,
        "engine": "cpu",
        "device": "cpu",
        "parameters": {
            "weights": weights,
            "delays": delays,
            "neuron": 0,
            "trainable": weights + (0 if method.endswith("-fixed") else delays),
            "frozen": delays if method.endswith("-fixed") else 0,
            "total": weights + delays,
            "spreads": 0,
            "learned_delays": 0 if method.endswith("-fixed") else delays,
        }
        if kind == "run"
        else {},
        "activity": {
            "spikes_per_neuron_step": {"0": 0.05, "1": 0.07},
            "synaptic_operations": {"effective_acs": 120_000, "effective_macs": 9_000, "dense": 2_000_000},
        }
        if kind == "run"
        else {},
        "provenance": {"results_version": RESULTS_VERSION, "revision": "0123456789abcdef", "dirty": False},
        "command": f"delrec-bench run {method} {task} --repetition {repetition} --profile quick",
        "measured": {"wall_seconds": 12.0, "host": HOST, "finished_at": "2026-01-02T03:04:05+00:00"},
    }
    return made(**(values | changes))


def latency(method, task, train=1.3, batch1=None):
    like = record(method, task, 0)
    result = {"train_ratio": train, "train_ms": 5 * train, "train_ms_iqr": [5 * train - 0.05, 5 * train + 0.06]}
    result |= {"infer_ratio": 1.12, "infer_ms": 2.24, "infer_ms_iqr": 0.04, "batch1_ratio": batch1, "baseline": "lif"}
    result |= {"batch": 256, "threads": 1, "engines": {"train": "cpu", "infer": "cpu"}}
    names = ("method", "task", "data", "measured", "provenance", "configuration", "device", "parameters", "learned")
    values = {name: getattr(like, name) for name in names}
    return made(kind="latency", repetition=0, metric="accuracy", result=result, **values)


def forecast(method, repetition, scale, control=None):
    """A record of a forecast, whose score is an error."""
    rng = random.Random(f"{method} {repetition}")
    truth = random.Random("mackey-glass")
    targets = [truth.gauss(0, 1) for _ in range(200)]
    predictions = [t + scale * rng.gauss(0, 1) for t in targets]
    like = record(method, "digits", repetition)
    data = like.data | {"digest": "c" * 64, "sizes": {"train": 700, "valid": 100, "test": 200}}
    score = metric_named("nmse").score(predictions, targets)
    forecast = like.changed(
        key="0" * 64,
        task="mackey-glass",
        metric="nmse",
        control=control,
        configuration=like.configuration | {"task": {"name": "mackey-glass", "tau": 17, "horizon": 20}},
        data=data,
        result={"test_score": score},
        predictions=predictions,
        targets=targets,
        command=f"delrec-bench run {method} mackey-glass --repetition {repetition} --profile quick",
    )
    return forecast.changed(key=expected_key(forecast))


def everything(repetitions=3):
    """A whole study: three spike tasks with floors and latency, and one forecast."""
    made = [record(m, t, r) for t in TASKS for m in METHODS for r in range(repetitions)]
    made += [record(m, t, 0, kind="floor") for t in TASKS for m in ("counts", "time-slices")]
    made += [latency(m, t, 1.0 + 0.05 * i, batch1=1.4) for t in TASKS for i, m in enumerate(METHODS)]
    for method, scale, control in (
        ("rlif", 0.43, None),
        ("delrec-synaptic-fixed", 0.22, "rlif"),
        ("delrec-synaptic", 0.18, "delrec-synaptic-fixed"),
    ):
        made += [forecast(method, r, scale, control) for r in range(repetitions)]
    return made


MARGINS = {"digits": 0.01, "tones": 0.01, "shd": 0.01, "mackey-glass": 0.02}


def declared(records, primary=("delrec-synaptic", "delrec-synaptic-fixed"), **changes):
    """The declaration of a page that asks for exactly these runs."""
    runs = {r.key: Expected(r.method, r.control) for r in records if r.kind in ("run", "floor")}
    values = {"page": "made-up", "title": "Does learning help?", "study": "made-up", "profile": "quick", "runs": runs}
    values |= {"primary": None if primary is None else Primary(*primary), "margins": MARGINS}
    return Declaration(**(values | changes))


def scored_at(method, repetition, score, task="digits", total=1000, **changes):
    """A record with this very score."""
    like = record(method, task, repetition)
    correct = round(score * total)
    columns = {"predictions": [0] * correct + [1] * (total - correct), "targets": [0] * total, "groups": None}
    result = {"test_score": correct / total, "correct": correct, "total": total}
    data = like.data | {"sizes": like.data["sizes"] | {"test": total}}
    return remade(like, **(columns | {"result": like.result | result, "data": data} | changes))


def history(record_, epochs=6):
    """The record with curves."""
    lines = [{"epoch": e + 1, "valid_accuracy": 0.5 + 0.05 * e + 0.01 * record_.repetition} for e in range(epochs)]
    return record_.changed(history=lines)


def swept(axes, methods=("delrec-synaptic", "delrec-synaptic-fixed"), tasks=("digits", "tones"), n=4, gain=0.02):
    """Records of a sweep, and what its page declares of them: (records, runs).

    Scores rise by 0.01 a value along the first axis; a method without "-fixed" gains `gain` over its control.
    """
    points = [()]
    for axis, values in axes.items():
        points = [(*point, (axis, value)) for point in points for value in values]
    records, runs = [], {}
    for task in tasks:
        for point in points:
            for method in methods:
                names = {m: m + (f" ({', '.join(f'{a} {v}' for a, v in point)})" if point else "") for m in methods}
                control = names.get(f"{method}-fixed")
                for r in range(n):
                    first = next(iter(axes.values())).index(point[0][1])
                    better = 0.0 if method.endswith("-fixed") else gain
                    score = 0.5 + 0.01 * first + better + 0.002 * ((r + first) % 3)
                    like = scored_at(method, r, score, task=task, total=600)
                    network = like.configuration["network"] | dict(point)
                    like = remade(like, configuration=like.configuration | {"network": network})
                    records.append(like)
                    runs[like.key] = Expected(names[method], control, method, point)
    return records, runs


def layer_delays(start, end, layer="blocks.0.spiking", kind="recurrent", weight=None):
    """One layer of `Record.delays`, from all its delays."""
    quantiles = [[float(v) for v in np.quantile(values, np.linspace(0, 1, 11))] for values in (start, end)]
    units = {"start": [float(v) for v in start], "end": [float(v) for v in end]}
    if weight is not None:
        units["weight"] = [float(v) for v in weight]
    moved = float(np.mean(np.round(start) != np.round(end)))
    return {
        "layer": layer,
        "kind": kind,
        "count": len(end),
        "moved": moved,
        "start": quantiles[0],
        "end": quantiles[1],
        "units": units,
    }

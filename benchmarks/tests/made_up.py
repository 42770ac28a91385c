"""Made-up records for the report's tests: plausible shapes, no claim about any method."""

import random

from delrec_bench.records import Record, run_key
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


def scored(rng, total, rate, classes):
    targets = [i % classes for i in range(total)]
    predictions = [t if rng.random() < rate else (t + 1) % classes for t in targets]
    correct = sum(p == t for p, t in zip(predictions, targets, strict=True))
    return {
        "best_epoch": 7,
        "epochs": 10,
        "selection": "validation",
        "valid_score": rate,
        "test_score": correct / total,
        "correct": correct,
        "total": total,
        "predictions": predictions,
        "targets": targets,
        "speakers": None,
    }


def record(method, task, repetition, kind="run", **changes):
    stamp, steps, classes, base, floor = TASKS[task]
    learned, control, weights, delays, gain = METHODS.get(method, ("nothing recurrent", None, 0, 0, 0.0))
    rng = random.Random(f"{method} {task} {repetition}")
    rate = base + gain + rng.gauss(0, 0.008) if kind == "run" else floor - 0.15 * (method == "counts")
    configuration = {
        "method": method,
        "task": {"name": task, "step_ms": 14.0},
        "network": {"hidden": [42, 42]},
        "seeds": {"split": repetition, "initialisation": repetition},
        "profile": "quick",
        "epochs": 10,
    }
    values = {
        "kind": kind,
        "key": run_key(configuration, {"digest": task, "kind": kind}),
        "method": method,
        "task": task,
        "repetition": repetition,
        "study": "leaderboard",
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
        },
        "metric": "accuracy",
        "result": scored(rng, 600, min(rate, 0.99), classes),
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
        }
        if kind == "run"
        else {},
        "activity": {
            "spikes_per_neuron_step": {"0": 0.05, "1": 0.07},
            "synaptic_operations": {"effective_acs": 120_000, "effective_macs": 9_000, "dense": 2_000_000},
        }
        if kind == "run"
        else {},
        "provenance": {"results_version": 1, "revision": "0123456789abcdef", "dirty": False},
        "command": f"delrec-bench run {method} {task} --repetition {repetition} --profile quick",
        "measured": {"wall_seconds": 12.0, "host": HOST, "finished_at": "2026-01-02T03:04:05+00:00"},
    }
    return Record(**(values | changes))


def latency(method, task, train=1.3, batch1=None):
    made = record(method, task, 0)
    result = {"train_ratio": train, "train_ms": 5 * train, "train_ms_iqr": [5 * train - 0.05, 5 * train + 0.06]}
    result |= {"infer_ratio": 1.12, "infer_ms": 2.24, "infer_ms_iqr": 0.04, "batch1_ratio": batch1}
    configuration = {"method": method, "task": task, "network": {"hidden": [42, 42]}}
    values = {
        name: getattr(made, name)
        for name in ("method", "task", "data", "measured", "provenance", "parameters", "learned")
    }
    return Record(
        kind="latency",
        key=run_key(configuration, {}),
        repetition=0,
        configuration=configuration,
        metric="accuracy",
        result=result,
        **values,
    )


def forecast(method, repetition, scale, control=None):
    """A record of a forecast, whose score is an error."""
    rng = random.Random(f"{method} {repetition}")
    targets = [rng.gauss(0, 1) for _ in range(200)]
    predictions = [t + scale * rng.gauss(0, 1) for t in targets]
    mean = sum(targets) / 200
    variance = sum((t - mean) ** 2 for t in targets) / 200
    error = sum((p - t) ** 2 for p, t in zip(predictions, targets, strict=True)) / 200
    made = record(method, "digits", repetition)
    configuration = made.configuration | {"task": {"name": "mackey-glass", "tau": 17, "horizon": 20}}
    values = {name: getattr(made, name) for name in made.__dataclass_fields__}
    return Record(
        **values
        | {
            "task": "mackey-glass",
            "metric": "nmse",
            "control": control,
            "key": run_key(configuration, {}),
            "configuration": configuration,
            "result": {"test_score": error / variance, "predictions": predictions, "targets": targets},
            "command": f"delrec-bench run {method} mackey-glass --repetition {repetition} --profile quick",
        }
    )


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
    made = record(method, task, repetition)
    correct = round(score * total)
    result = {"predictions": [0] * correct + [1] * (total - correct), "targets": [0] * total}
    result |= {"test_score": correct / total, "correct": correct, "total": total}
    values = {name: getattr(made, name) for name in made.__dataclass_fields__}
    return Record(**(values | {"result": made.result | result} | changes))


def history(record_, epochs=6):
    """The record with curves."""
    lines = [{"epoch": e + 1, "valid_accuracy": 0.5 + 0.05 * e + 0.01 * record_.repetition} for e in range(epochs)]
    values = {name: getattr(record_, name) for name in record_.__dataclass_fields__}
    return Record(**(values | {"history": lines}))

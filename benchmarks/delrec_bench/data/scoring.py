"""Predictions that other code made, scored by the rules that our own are scored by: each test sample, exactly once."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from delrec_bench.data.task_data import TaskData
from delrec_bench.errors import BenchError
from delrec_bench.metrics import metric_named

COLUMNS = ("position", "prediction")
LARGEST = 64 * 2**20  # bytes of a file of predictions


@dataclass(frozen=True)
class Scored:
    """What came of it: the metric's score; of classes also how many are right."""

    metric: str
    score: float
    correct: int | None
    total: int


def read_predictions(path: Path, data: TaskData) -> np.ndarray:
    """Read a csv of `position` (of the exported test split, from 0) and `prediction` into the order of the test split.

    Raises:
        BenchError: It cannot be read, a sample is missing, there twice or unknown, or a prediction is no class of the
            task (no finite number, of a forecast).
    """
    total, classifies = len(data.test), metric_named(data.metric).classifies
    found: dict[int, float] = {}
    try:
        if path.stat().st_size > LARGEST:
            raise BenchError(f"{path}: {path.stat().st_size:,} bytes; predictions of {total:,} samples are smaller")
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise BenchError(f"{path}: its first line must name the columns {' and '.join(COLUMNS)}")
            for line, row in enumerate(reader, 2):
                where = f"{path}, line {line}"
                position = _number(row["position"], where, "position")
                value = _number(row["prediction"], where, "prediction")
                if not (position.is_integer() and 0 <= position < total):
                    raise BenchError(f"{where}: position {row['position']} is none of 0 to {total - 1}")
                if classifies and not (value.is_integer() and 0 <= value < data.classes):
                    raise BenchError(f"{where}: prediction {row['prediction']} is no class of 0 to {data.classes - 1}")
                if int(position) in found:
                    raise BenchError(f"{where}: position {int(position)} is there twice; give each sample once")
                found[int(position)] = value
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}; give a csv of predictions") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BenchError(f"{path} cannot be read as a csv of predictions: {error}") from error
    if len(found) < total:
        missing = next(i for i in range(total) if i not in found)
        raise BenchError(f"{path}: {len(found):,} of {total:,} test samples; position {missing} is the first to lack")
    values = np.array([found[i] for i in range(total)])
    return values.astype(np.int64) if classifies else values


def score_predictions(path: Path, data: TaskData) -> Scored:
    """Score a file of predictions for the test split of a task and repetition."""
    predictions, targets = read_predictions(path, data), data.test.targets.numpy()
    metric = metric_named(data.metric)
    correct = int((predictions == targets).sum()) if metric.classifies else None
    return Scored(data.metric, float(metric.score(predictions, targets)), correct, len(targets))


def _number(text: str | None, where: str, name: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise BenchError(f"{where}: {name} {text!r} is no number") from None
    if not np.isfinite(value):
        raise BenchError(f"{where}: {name} {text!r} is not finite")
    return value

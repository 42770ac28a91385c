"""What passes between this suite and other code that wants to be compared by its rules: splits out, predictions in.

`TASK/repetition-R.csv` has a line for each sample, in the order of its split: split, position, file (or the part of a
formula), row of it from 0, target, and speaker where known. Of two files A+B the rows of B follow those of A.
`TASK/repetition-R.json` beside it says what they are rows of (digests), T, step and channels, the seed of every axis,
and the pixel shown at each step in permuted tasks.
"""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from delrec_bench.data.files import saving
from delrec_bench.data.task_data import TaskData
from delrec_bench.errors import BenchError
from delrec_bench.metrics import metric_named
from delrec_bench.workspace import write_atomic


def export_splits(data: TaskData, repetition: int, seeds: Mapping[str, int], folder: Path) -> list[Path]:
    """Write both files of one task and repetition below `folder`.

    Raises:
        BenchError: No space, or no right to write.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("split", "position", "file", "row", "target", "speaker"))
    for split, (source, rows) in data.rows.items():
        samples = getattr(data, split)
        targets = samples.targets[: len(rows)].tolist()  # an augmented set begins with the samples as they are
        speakers = [""] * len(rows) if samples.speakers is None else samples.speakers[: len(rows)].tolist()
        for position, (row, target, speaker) in enumerate(zip(rows.tolist(), targets, speakers, strict=True)):
            writer.writerow((split, position, source, row, target, speaker))
    about = {
        **data.identity(),
        "files": dict(data.files),
        "metric": data.metric,
        "stamp": data.stamp,
        "repetition": repetition,
        "seeds": dict(seeds),
        "permutation": None if data.permutation is None else data.permutation.tolist(),
        "notes": list(data.notes),
    }
    table = folder / data.name.replace(":", "-") / f"repetition-{repetition}.csv"
    with saving(table):
        write_atomic(table, text.getvalue())
        write_atomic(table.with_suffix(".json"), json.dumps(about, indent=1) + "\n")
    return [table, table.with_suffix(".json")]


def read_predictions(path: Path, data: TaskData) -> np.ndarray:
    """Read a csv of `position` (of the exported test split, from 0) and `prediction` into the order of the test split.

    Raises:
        BenchError: It cannot be read, a sample is missing, there twice or unknown, or a prediction is no class of the
            task (no finite number, of a forecast).
    """
    total, classifies = len(data.test), metric_named(data.metric).classifies
    found: dict[int, float] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if not {"position", "prediction"} <= set(reader.fieldnames or ()):
                raise BenchError(f"{path}: its first line must name the columns position and prediction")
            for line, row in enumerate(reader, 2):
                where = f"{path}, line {line}"
                position, value = (_number(row[name], where, name) for name in ("position", "prediction"))
                if not (position.is_integer() and 0 <= position < total):
                    raise BenchError(f"{where}: position {row['position']} is none of 0 to {total - 1}")
                if classifies and not (value.is_integer() and 0 <= value < data.classes):
                    raise BenchError(f"{where}: prediction {row['prediction']} is no class of 0 to {data.classes - 1}")
                if int(position) in found:
                    raise BenchError(f"{where}: position {int(position)} is there twice; give each sample once")
                found[int(position)] = value
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BenchError(f"{path} cannot be read ({error}); give a csv of predictions") from error
    if len(found) < total:
        missing = next(i for i in range(total) if i not in found)
        raise BenchError(f"{path}: {len(found):,} of {total:,} test samples; position {missing} is the first to lack")
    return np.array([found[i] for i in range(total)], np.int64 if classifies else np.float64)


def _number(text: str | None, where: str, name: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise BenchError(f"{where}: {name} {text!r} is no number") from None
    if not np.isfinite(value):
        raise BenchError(f"{where}: {name} {text!r} is not finite")
    return value

"""What passes between this suite and other code that wants to be compared by its rules: splits out, predictions in.

`TASK/repetition-R.csv` has a line for each sample, in the order of its split: split, position, file (or the part of a
formula, if the task says one), row of it from 0, target, and speaker where known. Of two files A+B the rows of B follow
those of A.
`TASK/repetition-R.json` beside it says what they are rows of (digests), T, step and channels, the seed of every axis,
and the pixel shown at each step in permuted tasks.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from delrec_bench.data.task_data import TaskData
from delrec_bench.errors import BenchError
from delrec_bench.workspace import write_atomic


def export_splits(data: TaskData, repetition: int, seeds: Mapping[str, int], folder: Path) -> list[Path]:
    """Write both files of one task and repetition below `folder`."""
    parts, about = [], data.identity()
    for split, (source, rows) in (data.rows or {s: ("", np.arange(n)) for s, n in about["sizes"].items()}).items():
        samples, count = getattr(data, split), len(rows)  # an augmented set begins with the samples as they are
        speakers = None if samples.speakers is None else samples.speakers[:count]
        columns = {"split": split, "position": range(count), "file": source, "row": rows}
        parts.append(pd.DataFrame(columns | {"target": samples.targets[:count].tolist(), "speaker": speakers}))
    about |= {
        "files": dict(data.files),
        "metric": data.metric,
        "stamp": data.stamp,
        "repetition": repetition,
        "seeds": dict(seeds),
        "permutation": None if data.permutation is None else data.permutation.tolist(),
        "notes": list(data.notes),
    }
    table = folder / data.name.replace(":", "-") / f"repetition-{repetition}.csv"
    write_atomic(table, pd.concat(parts).to_csv(index=False, lineterminator="\n"))
    write_atomic(table.with_suffix(".json"), json.dumps(about, indent=1) + "\n")
    return [table, table.with_suffix(".json")]


def read_predictions(path: Path, data: TaskData) -> np.ndarray:
    """Read a csv of `position` (of the exported test split, from 0) and `prediction` into the order of the test split.

    A `BenchError` names the line that is wrong, or the first sample that is missing.
    """
    try:
        whole = pd.read_csv(
            path, usecols=["position", "prediction"], index_col=False, dtype=float, skip_blank_lines=False
        )
        table = whole.dropna(how="all")  # whose index still counts the blank lines
    except Exception as error:  # those of the packers that pandas unpacks are of many kinds
        said = " ".join(str(error).split())
        wanted = "give a csv of numbers with the columns position and prediction"
        raise BenchError(f"{path} cannot be read ({said}); {wanted}") from error
    total, position, value = len(data.test), table["position"], table["prediction"]
    wrong: list[Any] = [
        (position, ~position.isin(range(total)), f"must be from 0 to {total - 1}"),
        (position, position.duplicated(), "appears twice; give each sample once"),
        *((value, bad, why) for bad, why in data.impossible(value)),
    ]
    for column, bad, why in wrong:
        if bad.any():
            line = table.index[int(np.argmax(bad))]
            raise BenchError(f"{path}, line {line + 2}: {column.name} {column[line]:.15g} {why}")
    if len(table) < total:
        missing = min(set(range(total)) - set(position))
        raise BenchError(f"{path}: has {len(table):,} of {total:,} test samples; position {missing} is missing")
    return value.to_numpy()[np.argsort(position)].astype(np.int64 if data.classifies else np.float64)

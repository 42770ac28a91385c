"""Splits, permutations and seeds as files, for those who use other code and want to be compared by the same rules.

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

from delrec_bench.data.files import saving
from delrec_bench.data.task_data import TaskData
from delrec_bench.workspace import write_atomic

COLUMNS = ("split", "position", "file", "row", "target", "speaker")


def export_splits(data: TaskData, repetition: int, seeds: Mapping[str, int], folder: Path) -> list[Path]:
    """Write both files of one task and repetition below `folder`.

    Raises:
        BenchError: No space, or no right to write.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
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

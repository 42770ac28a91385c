"""Handwritten digits of 8 x 8 pixels, shown one pixel per step in a permuted order: real data without a download.

The 1,797 images are the test part of UCI's "Optical Recognition of Handwritten Digits", written by 13 people, and come
with scikit-learn. Their order follows the writers, so the last fifth, kept for the test, is mostly by other hands.
"""

import hashlib
from pathlib import Path

import numpy as np

from delrec_bench.data.files import DIGITS, content_digest, raw_digits
from delrec_bench.data.samples import DenseSamples, order
from delrec_bench.data.task_data import VALIDATION_SHARE, TaskData, TaskOptions, divided
from delrec_bench.tasks.task import Task
from delrec_bench.workspace import Workspace

PIXELS = 64
TEST = 360


def load(
    options: TaskOptions, split_seed: int, permutation_seed: int, data_dir: Path | None, workspace: Workspace
) -> TaskData:
    """Permuted sequential digits: T = 64, C = 1, pixel / 16."""
    from sklearn.datasets import load_digits  # half a second that `list tasks` need not wait for

    bunch = load_digits()
    pixels = bunch.data.astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    permutation = order(PIXELS, permutation_seed, PIXELS)
    shown = pixels[:, permutation]
    pool = order(len(labels) - TEST, split_seed, len(labels))
    share = round(len(pool) * VALIDATION_SHARE)
    whole = {"train": pool[share:], "valid": pool[:share], "test": np.arange(len(labels) - TEST, len(labels))}
    return divided(
        lambda _, rows: DenseSamples(shown[rows], labels[rows], scale=1 / 16),
        whole,
        dict.fromkeys(whole, DIGITS),
        options,
        name="digits",
        kind="EMBEDDED",
        classes=10,
        channels=1,
        steps=PIXELS,
        representation="pixels",
        digest=content_digest({"labels": labels, "pixels": pixels}),  # whatever file they came in
        files={DIGITS: hashlib.md5(raw_digits()).hexdigest()},
        permutation=permutation,
        notes=("real handwriting, 8 x 8 pixels; the last 360 images are the test set",),
    )


TASK = Task(
    name="digits",
    summary="handwritten digits, 8 x 8, one pixel per step in a fixed random order (64 steps)",
    source="E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI, 1998, doi:10.24432/C50P49",
    licence="CC BY 4.0",
    family="pixels",
    load=load,
    embedded=True,
)

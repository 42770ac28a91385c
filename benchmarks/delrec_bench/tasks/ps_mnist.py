"""MNIST as a sequence: one pixel per step, 784 steps, in an order drawn once by the permutation seed.

Published split (DelRec): int(0.83 x 60,000) = 49,800 training images, the other 10,200 for validation, official test.
Input is pixel / 255 as a current, not normalised.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from delrec_bench.data.files import MNIST, digest_of, files_digest, need_files, read_idx
from delrec_bench.data.samples import DenseSamples, order
from delrec_bench.data.task_data import TaskData, TaskOptions, divided
from delrec_bench.errors import BenchError
from delrec_bench.tasks.task import Task
from delrec_bench.workspace import Workspace

TRAIN_SHARE = 0.83
LABELS = "train-labels-idx1-ubyte"
TRAIN, TEST = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"


def load(
    options: TaskOptions, split_seed: int, permutation_seed: int, data_dir: Path | None, workspace: Workspace
) -> TaskData:
    """Permuted sequential MNIST, or any images in its files' format (T = rows x columns, C = 1)."""
    folder = data_dir or workspace.data / "ps-mnist"
    remedy = "put the four MNIST files there, run `delrec-bench data fetch ps-mnist`, or name a folder by --data"
    paths = need_files(folder, MNIST, remedy)
    digests = {name: digest_of(path, workspace, content=True) for name, path in paths.items()}
    official = digests == MNIST
    if data_dir is None and not official:
        name = next(name for name in MNIST if digests[name] != MNIST[name])
        raise BenchError(
            f"{paths[name]}: its content has md5 {digests[name]}, but MNIST's is {MNIST[name]}; delete it and "
            "fetch it again (delrec-bench data fetch ps-mnist), or give another folder with --data"
        )
    images, labels = _pair(paths, "train")
    tests, answers = _pair(paths, "t10k")
    if len(np.unique(labels)) < 2:
        raise BenchError(f"{paths[LABELS]}: every label is {labels[0]}; at least two classes are needed")
    pixels = images.shape[1]
    if tests.shape[1] != pixels:
        raise BenchError(
            f"{folder}: training images have {pixels} pixels, test images {tests.shape[1]}; they must be the same size"
        )
    classes = int(labels.max()) + 1
    bad = np.flatnonzero(answers >= classes)
    if len(bad):
        raise BenchError(
            f"{paths['t10k-labels-idx1-ubyte']}: sample {bad[0]} has label {answers[bad[0]]}, the training labels "
            f"run from 0 to {classes - 1}; correct the label"
        )
    digest = files_digest(digests)
    shown = order(pixels, permutation_seed, pixels)
    pool = order(len(labels), split_seed, len(labels))
    cut = int(TRAIN_SHARE * len(labels))
    whole = {"train": pool[:cut], "valid": pool[cut:], "test": np.arange(len(answers))}

    def part(split: str, rows: np.ndarray) -> DenseSamples:
        values, targets = (tests, answers) if split == "test" else (images, labels)
        return DenseSamples(values[rows[:, None], shown], targets[rows], scale=1 / 255)

    return divided(
        part,
        whole,
        {"train": TRAIN, "valid": TRAIN, "test": TEST},
        options,
        draw_test=True,
        name="ps-mnist" if data_dir is None else f"ps-mnist:{data_dir.resolve().name}@{digest[:8]}",
        kind="OFFICIAL" if official else "STAND-IN",
        classes=classes,
        channels=1,
        steps=pixels,
        representation="pixels",
        digest=digest,
        files=digests,
        permutation=shown,
    )


def _pair(paths: Mapping[str, Path], part: str) -> tuple[np.ndarray, np.ndarray]:
    image_path, label_path = paths[f"{part}-images-idx3-ubyte"], paths[f"{part}-labels-idx1-ubyte"]
    images, labels = read_idx(image_path, 3), read_idx(label_path, 1)
    if images.size == 0 or len(images) != len(labels) or len(labels) < 2:
        raise BenchError(
            f"{image_path} has {len(images)} images, {label_path} {len(labels)} labels; "
            "give one label per image, at least 2"
        )
    return images.reshape(len(images), -1), labels.astype(np.int64)


TASK = Task(
    name="ps-mnist",
    title="PS-MNIST",
    summary="MNIST, one pixel per step in a fixed random order, 784 steps, 10 classes",
    source="Y. LeCun et al.: Gradient-based learning applied to document recognition, Proc. IEEE 86(11), 1998",
    licence="CC BY-SA 3.0",
    family="pixels",
    load=load,
    accepts_data=True,
)

"""Inputs and the logits that another program gave for them, to hold a network against."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from delrec_bench.errors import BenchError
from delrec_bench.interchange.files import read_bytes, refuse_members

LARGEST = 1 << 30  # bytes of a file, and of its arrays
TOLERANCE = 1e-4
"""Of float32, relative to the larger of 1 and the largest logit."""


@dataclass(frozen=True)
class Expected:
    """What a file of expected outputs holds.

    Attributes:
        x: (T, B, inputs).
        logits: (T', B, classes).
        sigma: Spread that they were made with, or None.
    """

    x: torch.Tensor
    logits: np.ndarray
    sigma: float | None

    @classmethod
    def read(cls, path: Path) -> "Expected":
        """Read x, logits and, where it is there, sigma of an .npz.

        Raises:
            BenchError: It is no such file.
        """
        data = read_bytes(path, LARGEST)
        refuse_members(data, 100, str(path))
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if sum(member.file_size for member in archive.infolist()) > LARGEST:
                    raise BenchError(f"{path} would unfold to more than {LARGEST:,} bytes; it is refused")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in ("x", "logits", "sigma") if name in arrays.files}
        except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError, MemoryError, NotImplementedError) as error:
            raise BenchError(f"{path} is no .npz that can be read ({error})") from error
        for name in ("x", "logits"):
            if name not in found or found[name].ndim != 3 or found[name].dtype.kind not in "fiu":
                there = "missing" if name not in found else f"{found[name].shape} of {found[name].dtype}"
                raise BenchError(f"{path}: {name} is {there}; it must be numbers (steps, samples, inputs or classes)")
        sigma = found.get("sigma")
        if sigma is not None and not (sigma.shape == () and 0 <= float(sigma) < 1e6):
            raise BenchError(f"{path}: sigma is no number of steps of at least 0")
        x = torch.from_numpy(np.asarray(found["x"], np.float64))
        return cls(x, found["logits"], None if sigma is None else float(sigma))


@dataclass(frozen=True)
class Agreement:
    """How far logits are apart.

    Attributes:
        difference: The largest, absolute.
        scale: The larger of 1 and the largest expected logit.
        shapes: Ours and theirs.
    """

    difference: float
    scale: float
    shapes: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def agrees(self) -> bool:
        """Whether they are the same to `TOLERANCE`."""
        return self.shapes[0] == self.shapes[1] and self.difference <= TOLERANCE * self.scale

    def __str__(self) -> str:
        if self.shapes[0] != self.shapes[1]:
            return f"our logits are {self.shapes[0]}, those expected {self.shapes[1]}"
        word = "the same logits" if self.agrees else "other logits"
        return f"{word}: the largest difference is {self.difference:.2g}, of at most {TOLERANCE * self.scale:.2g}"


def compare_logits(network: Any, expected: Expected) -> Agreement:
    """Run a network in evaluation mode as it is, and hold its outputs against those expected.

    Raises:
        BenchError: The inputs do not fit the network.
    """
    dtype = next(network.parameters()).dtype
    try:
        with torch.no_grad():
            ours = network.eval()(expected.x.to(dtype)).double().numpy()
    except ValueError as error:
        raise BenchError(f"x does not fit the network: {error}") from error
    scale = max(1.0, float(np.abs(expected.logits).max(initial=0)))
    shapes = (ours.shape, expected.logits.shape)
    difference = float(np.abs(ours - expected.logits).max(initial=0)) if shapes[0] == shapes[1] else float("inf")
    return Agreement(difference if np.isfinite(difference) else float(np.finfo(float).max), scale, shapes)

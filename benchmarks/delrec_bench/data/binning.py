"""Spikes into bins: events of a file -> counts per step and channel, kept under cache/.

Two binnings of a time t (seconds):

- clean: step k holds k step <= t < (k + 1) step, k from 0;
- published: the edges are T equally spaced points from 0 to 1.4 s and step k holds edge[k-1] <= t < edge[k], as
  DelRec's code for SSC bins (numpy.digitize). So a step is 1.4 s / (T - 1), step 0 is always empty, and an event at
  1.4 s or later has no step (the published code would stop there with an index error; here it is dropped and
  counted).

Spikes are conserved: each is in exactly one bin, or counted as dropped. Neighbouring channels are summed.
"""

import hashlib
import json
import logging
import math
import zlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from delrec_bench.data.samples import Counts
from delrec_bench.data.transforms import Transform
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace, write_atomic

LONGEST = 1.4  # seconds: the longest sample any of these tasks looks at
VERSION = 4  # raise it when the arrays of the cache change their meaning
# A time written in decimal may lie a rounding error below the edge that it means.
SLACK = 1e-9

_FACTS = ("longest", "classes", "top")  # numbers of each split, in the cache as one array
_ARRAYS = ("starts", "places", "values", "labels", "beyond", "speakers")

log = logging.getLogger(__name__)

# Opens the recordings of a split, as those of `events`: path, classes (None where the largest label tells) and
# blocks(), all samples in order, checked.
Opener = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Bins:
    """How events are binned.

    Attributes:
        mode: "clean" or "published".
        steps: Steps of the store (T, or the most that T can become).
        step: Length of a step in seconds.
        channels: Channels after summing neighbours.
        source: Channels of the file; a multiple of `channels`.
    """

    mode: str
    steps: int
    step: float
    channels: int
    source: int

    def __post_init__(self) -> None:
        """Refuse what a place (step * channels + channel) of 32 bits could not tell apart."""
        if self.steps * self.channels >= 1 << 32:
            said = f"{self.steps:,} steps of {self.channels} channels are more than 2^32 bins per sample"
            raise BenchError(f"{said}; use a longer step_ms or fewer steps")

    @classmethod
    def clean(cls, step: float, steps: int | str, channels: int, source: int) -> "Bins":
        """Clean bins over 1.4 s, or over more where more steps are asked for ("auto": not known yet)."""
        cap = max(1, math.ceil(LONGEST / step - 1e-9))
        return cls("clean", cap if steps == "auto" else max(cap, int(steps)), step, channels, source)

    def step_of(self, times: np.ndarray) -> np.ndarray:
        """Step of each time (seconds); `steps` or more where it lies after the end."""
        if self.mode == "published":
            return np.digitize(times, np.linspace(0, LONGEST, self.steps))
        return np.floor(times / self.step + SLACK).astype(np.int64)


def bin_events(file: Any, bins: Bins, transform: Transform | None = None, seed: int = 0) -> Counts:
    """Bin every sample of recordings (see `Opener`), after a transform where there is one."""
    size, share = bins.steps * bins.channels, bins.source // bins.channels
    number: Any = np.uint16 if size <= 1 << 16 else np.uint32
    parts: list[tuple[np.ndarray, ...]] = []
    speakers: list[np.ndarray] = []
    longest = top = 0
    for whole in file.blocks():
        block = whole.through(transform, seed) if transform else whole
        count = len(block.lengths)
        owner = np.repeat(np.arange(count), block.lengths)
        step = bins.step_of(block.times)
        inside = step < bins.steps
        flat = owner[inside] * size + step[inside] * bins.channels + block.units[inside] // share
        flat, amount = np.unique(flat, return_counts=True)
        if amount.max(initial=0) > np.iinfo(np.uint16).max:
            raise BenchError(f"{file.path}: over 65535 spikes in one bin; use a shorter step_ms or more channels")
        lengths = np.bincount(flat // size, minlength=count)
        beyond = np.bincount(owner[~inside], minlength=count).astype(np.int64)
        parts.append((lengths, (flat % size).astype(number), amount.astype(np.uint16), block.labels, beyond))
        speakers += [] if block.speakers is None else [block.speakers]
        longest = max(longest, int(step[inside].max(initial=0)) + 1)
        top = max(top, int(block.units.max(initial=-1)) + 1)
    lengths, places, values, labels, beyond = map(np.concatenate, zip(*parts, strict=True))
    if values.max(initial=0) <= np.iinfo(np.uint8).max:
        values = values.astype(np.uint8)
    starts, said = np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(speakers) if speakers else None
    facts = longest, file.classes or int(labels.max()) + 1, top
    return Counts(bins.steps, bins.channels, *facts, starts, places, values, labels, beyond, said)


def binned(
    sources: Mapping[str, Opener], digests: Mapping[str, str], bins: Bins, workspace: Workspace
) -> dict[str, Counts]:
    """Splits by name, binned; from the cache where the same content was binned the same way before.

    A file of the cache appears whole or not at all, and carries a checksum that every reader looks at.
    """
    identity = {"version": VERSION, "digests": dict(digests), "bins": asdict(bins)}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    path = workspace.cache / f"bins-{key}.safetensors"
    if path.exists():
        try:
            return _read(path, bins)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            log.warning("%s: damaged (%s); it is made again", path, error)
    arrays: dict[str, torch.Tensor] = {}
    for split, opened in sources.items():
        with opened() as file:
            held = vars(bin_events(file, bins))
        arrays |= {f"{split}-{name}": torch.from_numpy(held[name]) for name in _ARRAYS if held[name] is not None}
        arrays[f"{split}-facts"] = torch.tensor([held[name] for name in _FACTS])
    write_atomic(path, save(arrays, {"sum": _sum(arrays)}))
    return _read(path, bins)


def _read(path: Path, bins: Bins) -> dict[str, Counts]:
    # Mapped, not read: processes on one machine share the pages.
    with safe_open(path, framework="pt") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _sum(arrays) != file.metadata()["sum"]:
            raise ValueError("its content does not match its checksum")
    splits: dict[str, dict[str, Any]] = {}
    for place, array in arrays.items():
        split, _, name = place.partition("-")
        splits.setdefault(split, {})[name] = array.numpy()
    return {split: Counts(bins.steps, bins.channels, *of.pop("facts").tolist(), **of) for split, of in splits.items()}


def _sum(arrays: Mapping[str, torch.Tensor]) -> str:
    total = 0
    for name in sorted(arrays):
        total = zlib.crc32(arrays[name].numpy().data, zlib.crc32(name.encode(), total))
    return f"{total:08x}"

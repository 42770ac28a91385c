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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from scipy.sparse import csr_array, vstack

from delrec_bench.data.events import EventBlock
from delrec_bench.data.samples import Counts
from delrec_bench.data.transforms import Transform
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace, write_atomic

LONGEST = 1.4  # seconds: the longest sample any of these tasks looks at
VERSION = 5  # raise it when the arrays of the cache change their meaning
_SPARSE = ("data", "indices", "indptr")
# A time written in decimal may lie a rounding error below the edge that it means.
SLACK = 1e-9

log = logging.getLogger(__name__)


class Recordings(NamedTuple):
    """One part of a corpus."""

    name: str  # of its file, in messages and exported splits
    identity: str  # what decides its events, for the cache: a digest
    blocks: Callable[[], Iterator[EventBlock]]  # reads all samples in order, checked


@dataclass(frozen=True)
class Bins:
    """How events are binned."""

    mode: str  # "clean" or "published"
    steps: int  # of the store (T, or the most that T can become)
    step: float  # seconds
    channels: int  # after summing neighbours
    source: int  # channels of the file; a multiple of `channels`

    def __post_init__(self) -> None:
        """Refuse more bins than 32 bits count."""
        if self.steps * self.channels >= 1 << 31:
            said = f"{self.steps:,} steps of {self.channels} channels are more than 2^31 bins per sample"
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


def bin_events(recordings: Recordings, bins: Bins, transform: Transform | None = None, seed: int = 0) -> Counts:
    """Bin every sample, after a transform where there is one."""
    size, share = bins.steps * bins.channels, bins.source // bins.channels
    parts: list[tuple[Any, ...]] = []
    longest = top = 0
    for whole in recordings.blocks():
        block = whole.through(transform, seed) if transform else whole
        count = len(block.lengths)
        owner = np.repeat(np.arange(count), block.lengths)
        step = bins.step_of(block.times)
        inside = step < bins.steps
        place = step[inside] * bins.channels + block.units[inside] // share
        spikes = csr_array((np.ones(len(place), np.uint32), (owner[inside], place)), (count, size))
        spikes.sum_duplicates()
        if spikes.data.max(initial=0) > np.iinfo(np.uint16).max:
            raise BenchError(f"{block.path}: over 65535 spikes in one bin; use a shorter step_ms or more channels")
        beyond = np.bincount(owner[~inside], minlength=count)
        parts.append((spikes.astype(np.uint16), block.labels, beyond, block.speakers))
        longest = max(longest, int(step[inside].max(initial=0)) + 1)
        top = max(top, int(block.units.max(initial=-1)) + 1)
    rows, labels, after, speakers = zip(*parts, strict=True)
    spikes = vstack(rows, format="csr")
    spikes = spikes.astype(np.uint8) if spikes.data.max(initial=0) <= np.iinfo(np.uint8).max else spikes
    classes = block.classes or int(np.concatenate(labels).max()) + 1
    known = None if block.speakers is None else np.concatenate(speakers)
    kept = spikes, np.concatenate(labels), np.concatenate(after), known
    return Counts(recordings.name, bins.steps, bins.channels, longest, classes, top, *kept)


def binned(parts: Mapping[str, Recordings], bins: Bins, workspace: Workspace) -> dict[str, Counts]:
    """Splits by name, binned; from the cache where the same content was binned the same way before.

    A file of the cache appears whole or not at all; one that cannot be read is made again.
    """
    digests = {split: part.identity for split, part in parts.items()}
    identity = {"version": VERSION, "digests": digests, "bins": asdict(bins)}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    path = workspace.cache / f"bins-{key}.safetensors"
    if path.exists():
        try:
            return _read(path, parts)
        except (OSError, LookupError, TypeError, ValueError, SafetensorError) as error:
            log.warning("%s: damaged (%s); it is made again", path, error)
    arrays: dict[str, torch.Tensor] = {}
    for split, part in parts.items():
        held = vars(bin_events(part, bins))
        held |= {name: getattr(held["spikes"], name) for name in _SPARSE}
        known = {name: value for name, value in held.items() if name not in ("name", "spikes") and value is not None}
        arrays |= {f"{split}-{name}": torch.as_tensor(value) for name, value in known.items()}
    write_atomic(path, save(arrays))
    return _read(path, parts)


def _read(path: Path, parts: Mapping[str, Recordings]) -> dict[str, Counts]:
    # Mapped, not read: processes on one machine share the pages.
    splits: dict[str, dict[str, Any]] = {split: {"name": part.name} for split, part in parts.items()}
    with safe_open(path, framework="pt") as file:
        for place in file.keys():  # noqa: SIM118
            split, _, name = place.partition("-")
            array = file.get_tensor(place)
            splits[split][name] = array.numpy() if array.dim() else array.item()
    for of in splits.values():
        shape = len(of["labels"]), of["steps"] * of["channels"]
        of["spikes"] = csr_array(tuple(of.pop(name) for name in _SPARSE), shape)
    return {split: Counts(**of) for split, of in splits.items()}

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
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from delrec_bench.data.events import CorpusHeader
from delrec_bench.data.files import saving
from delrec_bench.data.samples import Counts
from delrec_bench.data.transforms import EventBlock
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace, write_atomic

LONGEST = 1.4  # seconds: the longest sample any of these tasks looks at
VERSION = 3  # raise it when the arrays of the cache change their meaning
# A time written in decimal may lie a rounding error below the edge that it means.
SLACK = 1e-9

log = logging.getLogger(__name__)


class Recordings(Protocol):
    """Samples of events, whatever they are read from."""

    path: Path
    header: CorpusHeader

    def blocks(self) -> Iterator[EventBlock]:
        """All samples in order, checked."""
        ...


# Opens the recordings of a split; the folder is for what must be unpacked meanwhile.
Opener = Callable[[Path], AbstractContextManager[Recordings]]


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
            raise BenchError(
                f"{self.steps:,} steps of {self.channels} channels are over 2^32 bins a sample; take a longer step_ms, "
                "or fewer steps"
            )

    def step_of(self, times: np.ndarray) -> np.ndarray:
        """Step of each time (seconds); `steps` or more where it lies after the end."""
        if self.mode == "published":
            return np.digitize(times, np.linspace(0, LONGEST, self.steps))
        return np.floor(times / self.step + SLACK).astype(np.int64)


def steps_within(seconds: float, step: float) -> int:
    """The fewest steps that cover `seconds`."""
    return max(1, math.ceil(seconds / step - 1e-9))


@dataclass(frozen=True)
class Binned:
    """One file, binned.

    Attributes:
        counts: The spikes.
        labels: (n,) class.    speakers: (n,) or None.
        beyond: (n,) spikes after the store's last step.
        longest: Steps up to the last spike of any sample, within the store.
        classes: Classes the file names in extra/keys, or its largest label + 1.
        top: Its largest unit + 1, before summing.
    """

    counts: Counts
    labels: np.ndarray
    speakers: np.ndarray | None
    beyond: np.ndarray
    longest: int
    classes: int
    top: int


def bin_events(file: Recordings, bins: Bins) -> Binned:
    """Bin every sample.

    Raises:
        BenchError: As the recordings' `blocks`; over 65,535 spikes in one bin.
    """
    size = bins.steps * bins.channels
    share = bins.source // bins.channels
    number: Any = np.uint16 if size <= 1 << 16 else np.uint32
    lengths, places, values, beyond = [], [], [], []
    longest = top = 0
    for block in file.blocks():
        owner = np.repeat(np.arange(len(block.lengths)), block.lengths)
        step = bins.step_of(block.times)
        inside = step < bins.steps
        beyond.append(np.bincount(owner[~inside], minlength=len(block.lengths)))
        top = max(top, int(block.units.max(initial=-1)) + 1)
        flat = owner[inside] * size + step[inside] * bins.channels + block.units[inside] // share
        flat, amount = np.unique(flat, return_counts=True)
        if amount.max(initial=0) > np.iinfo(np.uint16).max:
            raise BenchError(f"{file.path}: over 65535 spikes in one bin; take a shorter step_ms or more channels")
        lengths.append(np.bincount(flat // size, minlength=len(block.lengths)))
        places.append((flat % size).astype(number))
        values.append(amount.astype(np.uint16))
        longest = max(longest, int(step[inside].max(initial=0)) + 1)
    header = file.header
    amounts = np.concatenate(values)
    if amounts.max(initial=0) <= np.iinfo(np.uint8).max:
        amounts = amounts.astype(np.uint8)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    counts = Counts(starts, np.concatenate(places), amounts, bins.steps, bins.channels)
    late = np.concatenate(beyond).astype(np.int64)
    return Binned(counts, header.labels, header.speakers, late, longest, header.classes, top)


def binned(
    sources: Mapping[str, Opener], digests: Mapping[str, str], bins: Bins, workspace: Workspace
) -> dict[str, Binned]:
    """Splits by name, binned; from the cache where the same content was binned the same way before.

    A file of the cache appears whole or not at all, and carries a checksum that every reader looks at.

    Raises:
        BenchError: Bad content, or no space for the cache.
    """
    identity = {"version": VERSION, "digests": dict(digests), "bins": asdict(bins)}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    path = workspace.cache / f"bins-{key}.safetensors"
    if path.exists():
        try:
            return _read(path, tuple(sources), bins)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            log.warning("%s: damaged (%s); it is made again", path, error)
    parts = {}
    for split, opened in sources.items():
        with opened(workspace.cache) as file:
            parts[split] = bin_events(file, bins)
    with saving(path):
        write_atomic(path, _image(parts))
    return _read(path, tuple(sources), bins)


def _image(parts: Mapping[str, Binned]) -> bytes:
    """The file of the cache: arrays, and in its head what is said of each split and the checksum of both."""
    arrays: dict[str, torch.Tensor] = {}
    facts = {}
    for split, part in parts.items():
        held = {name: getattr(part.counts, name) for name in ("starts", "places", "values")}
        held |= {name: getattr(part, name) for name in ("labels", "speakers", "beyond")}
        arrays |= {f"{split}-{name}": torch.from_numpy(array) for name, array in held.items() if array is not None}
        facts[split] = {name: getattr(part, name) for name in ("longest", "classes", "top")}
    head = json.dumps(facts)
    return save(arrays, {"facts": head, "sum": _sum(head, arrays)})


def _read(path: Path, splits: tuple[str, ...], bins: Bins) -> dict[str, Binned]:
    # Mapped, not read: processes on one machine share the pages.
    with safe_open(path, framework="pt") as file:
        head = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if _sum(head["facts"], arrays) != head["sum"]:
        raise ValueError("its content is not what its checksum says")
    facts = json.loads(head["facts"])

    def part(split: str) -> Binned:
        of = {name.removeprefix(f"{split}-"): array.numpy() for name, array in arrays.items()}
        counts = Counts(of["starts"], of["places"], of["values"], bins.steps, bins.channels)
        return Binned(counts, of["labels"], of.get("speakers"), of["beyond"], **facts[split])

    return {split: part(split) for split in splits}


def _sum(head: str, arrays: Mapping[str, torch.Tensor]) -> str:
    total = zlib.crc32(head.encode())
    for name in sorted(arrays):
        total = zlib.crc32(arrays[name].numpy().data, zlib.crc32(name.encode(), total))
    return f"{total:08x}"

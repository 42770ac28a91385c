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
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from delrec_bench.data.events import CHANNELS, Block, Header
from delrec_bench.data.files import digest_of_file, saving
from delrec_bench.data.samples import Counts
from delrec_bench.errors import BenchError
from delrec_bench.workspace import Workspace

LONGEST = 1.4  # seconds: the longest sample any of these tasks looks at
VERSION = 2  # raise it when the arrays below change their meaning
# A time written in decimal may lie a rounding error below the edge that it means.
SLACK = 1e-9
MANIFEST = "manifest.json"
ARRAYS = ("starts", "places", "values", "labels", "speakers", "beyond")

log = logging.getLogger(__name__)


class Recordings(Protocol):
    """Samples of events, whoever reads them."""

    path: Path
    header: Header

    def blocks(self) -> Iterator[Block]:
        """All samples in order, checked."""
        ...


# Opens a split's recordings; told a folder for what it must write meanwhile.
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
        flat, amount = _tally(flat, len(block.lengths) * size)
        if amount.max(initial=0) > np.iinfo(np.uint16).max:
            raise BenchError(f"{file.path}: over 65535 spikes in one bin; take a shorter step_ms or more channels")
        lengths.append(np.bincount(flat // size, minlength=len(block.lengths)))
        places.append((flat % size).astype(number))
        values.append(amount.astype(np.uint16))
        longest = max(longest, int(step[inside].max(initial=0)) + 1)
    header = file.header
    amounts = np.concatenate(values)
    if len(amounts) == 0 or np.max(amounts) <= np.iinfo(np.uint8).max:
        amounts = amounts.astype(np.uint8)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    return Binned(
        Counts(starts, np.concatenate(places), amounts, bins.steps, bins.channels),
        header.labels,
        header.speakers,
        np.concatenate(beyond).astype(np.int64),
        longest,
        header.classes,
        top,
    )


def _tally(flat: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct places, ascending, and how often each occurs."""
    if size <= 1 << 24:  # a dense table is faster than sorting, while it fits the processor's caches or nearly
        table = np.bincount(flat, minlength=size)
        places = np.flatnonzero(table)
        return places, table[places]
    return np.unique(flat, return_counts=True)


def binned(
    sources: Mapping[str, Opener], digests: Mapping[str, str], bins: Bins, workspace: Workspace
) -> dict[str, Binned]:
    """Splits by name, binned; from the cache where the same content was binned the same way before.

    The cache folder appears whole or not at all, and two processes that bin at once do no harm: one of the two
    equal folders stays. It carries its own digest, which is checked whenever it is read.

    Raises:
        BenchError: Bad content, or no space for the cache.
    """
    identity = {"version": VERSION, "digests": dict(digests), "bins": asdict(bins)}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    folder = workspace.cache / f"bins-{key}"
    if folder.is_dir():
        try:
            return _load(folder, tuple(sources))
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            log.warning("%s: damaged (%s); it is made again", folder, error)
            shutil.rmtree(folder, ignore_errors=True)
    with saving(folder):
        workspace.cache.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=workspace.cache, prefix=f".{folder.name}-"))
    try:
        facts = {}
        for split, opened in sources.items():
            with opened(draft) as file:
                result = bin_events(file, bins)
            with saving(folder):
                facts[split] = _save(draft, split, result)
        with saving(folder):
            (draft / MANIFEST).write_text(json.dumps(_sealed(draft, facts)), encoding="utf-8")
            _settle(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return _load(folder, tuple(sources))


def _sealed(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The manifest: facts of each split, digests of all arrays, and the digest of both."""
    arrays = {path.name: digest_of_file(path) for path in sorted(folder.glob("*.npy"))}
    content = {"facts": facts, "arrays": arrays}
    return content | {"digest": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}


def _settle(draft: Path, folder: Path) -> None:
    try:
        os.replace(draft, folder)  # noqa: PTH105  Path.replace has the same meaning, less plainly for folders
    except OSError:
        # A folder that is not empty refuses to be replaced: another process was first, with the same content.
        if not folder.is_dir():
            raise


def _save(folder: Path, split: str, result: Binned) -> dict[str, Any]:
    arrays = {
        "starts": result.counts.starts,
        "places": result.counts.places,
        "values": result.counts.values,
        "labels": result.labels,
        "speakers": np.zeros(0, np.int64) if result.speakers is None else result.speakers,
        "beyond": result.beyond,
    }
    for name in ARRAYS:
        with (folder / f"{split}-{name}.npy").open("wb") as stream:
            np.lib.format.write_array(stream, arrays[name], allow_pickle=False)
    return {
        "steps": result.counts.steps,
        "channels": result.counts.channels,
        "longest": result.longest,
        "classes": result.classes,
        "top": result.top,
        "speakers": result.speakers is not None,
    }


def _load(folder: Path, splits: tuple[str, ...]) -> dict[str, Binned]:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest != _sealed(folder, manifest["facts"]):
        raise ValueError("its content is not what its digest says")
    return {split: _split(folder, split, manifest["facts"][split]) for split in splits}


def _split(folder: Path, split: str, facts: Mapping[str, Any]) -> Binned:
    # Mapped, not read: processes on one machine share the pages, and a small part costs little.
    loaded = {
        name: np.asarray(np.load(path, mmap_mode=_mapped(path)))
        for name, path in ((name, folder / f"{split}-{name}.npy") for name in ARRAYS)
    }
    return Binned(
        Counts(np.array(loaded["starts"]), loaded["places"], loaded["values"], facts["steps"], facts["channels"]),
        np.array(loaded["labels"]),
        np.array(loaded["speakers"]) if facts["speakers"] else None,
        np.array(loaded["beyond"]),
        facts["longest"],
        facts["classes"],
        facts["top"],
    )


def _mapped(path: Path) -> Any:
    # An array without entries cannot be mapped (its file ends with the header).
    return "r" if path.stat().st_size > 256 else None


def check_channels(wanted: int) -> None:
    """Channels after summing must divide the layout's 700.

    Raises:
        BenchError: They do not; names the nearest that does.
    """
    if wanted > CHANNELS or CHANNELS % wanted:
        near = min((c for c in range(1, CHANNELS + 1) if CHANNELS % c == 0), key=lambda c: abs(c - wanted))
        raise BenchError(f"task option channels = {wanted} does not divide the file's {CHANNELS}; {near} would")


def bin_corpus(
    sources: Mapping[str, Opener], digests: Mapping[str, str], bins: Bins, workspace: Workspace
) -> tuple[dict[str, Binned], Bins]:
    """As `binned`, for files of the 700-channel layout that may use fewer channels than a network is given.

    A corpus whose largest unit lies below `bins.channels` is taken as it is: its channels are its largest unit + 1,
    and none are summed. The bins that it got are returned too.
    """
    result = binned(sources, digests, bins, workspace)
    top = max(part.top for part in result.values())
    if bins.source == CHANNELS and 0 < top <= bins.channels and bins.channels < CHANNELS:
        bins = Bins(bins.mode, bins.steps, bins.step, top, top)
        result = binned(sources, digests, bins, workspace)
    return result, bins

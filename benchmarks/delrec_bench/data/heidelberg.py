"""SHD, SSC and corpora in their layout, opened through tonic's own classes.

tonic.datasets.SHD and SSC go to the network unless a zip lies beside the .h5, hash neither, and open the file anew for
every item. The subclasses here take the .h5 at hand, checked and open once, and never the network: `delrec-bench data
fetch` downloads, checked by md5. An item is what tonic makes of it, a structured array of t (microseconds), x and p;
`blocks` gives all samples to our binning in one pass, in the file's seconds, or through a transform if there is one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import tonic
from tonic.io import make_structured_array

from delrec_bench.data.events import Block, EventFile, open_events
from delrec_bench.data.transforms import Transform, through
from delrec_bench.errors import BenchError


class _AtHand(tonic.datasets.hsd.HSD):
    """What tonic's two classes share here: one open, checked file.

    Attributes:
        path, header: As of `EventFile`.
        seed: Of what the transform draws; each sample has a stream of its own.
    """

    def __init__(self, file: EventFile, *, seed: int = 0, **options: Any) -> None:
        self._file = file
        self.path, self.header, self.seed = file.path, file.header, seed
        with suppress(KeyError):  # tonic wants extra/keys and extra/speaker, which a user's own corpus may lack
            super().__init__(str(file.opened.parent), **options)

    def _check_exists(self) -> bool:
        # tonic asks this before it opens anything: the file is here, whatever tonic would call it.
        opened = self._file.opened
        self.location_on_system, self.data_filename = str(opened.parent), opened.name
        return True

    def download(self) -> None:
        """Never: see `delrec-bench data fetch`."""
        raise BenchError(f"no {self.path}; fetch it by `delrec-bench data fetch`")

    def __len__(self) -> int:
        return len(self.header.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Any]:
        """Events and label of a sample, as tonic's own, from the file that is open."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        block = self._file.samples(index, index + 1)
        events = self._structured(block.times, block.units)
        target = self.header.labels[index]
        return (
            events if self.transform is None else self.transform(events),
            target if self.target_transform is None else self.target_transform(target),
        )

    def _structured(self, times: np.ndarray, units: np.ndarray) -> np.ndarray:
        made: np.ndarray = make_structured_array(times * 1e6, units, 1, dtype=self.dtype)
        return made

    def blocks(self) -> Iterator[Block]:
        """All samples in order; through the transform where there is one."""
        if self.transform is None:
            yield from self._file.blocks()
            return
        for block in self._file.blocks():
            yield through(block, self._structured, self.transform, self.seed)


class SHD(_AtHand, tonic.datasets.SHD):
    """tonic's SHD, from a file at hand."""


class SSC(_AtHand, tonic.datasets.SSC):
    """tonic's SSC, from a file at hand."""


@contextmanager
def recordings(
    path: Path, split: str, scratch: Path, *, transform: Transform | None = None, seed: int = 0
) -> Iterator[_AtHand]:
    """Open shd_*.h5 or ssc_*.h5 (or .gz) as a dataset of tonic; `scratch` is for an unpacked copy.

    Raises:
        BenchError: As `open_events`.
    """
    with open_events(path, scratch) as file:
        make: Callable[..., _AtHand] = SHD if path.name.startswith("shd") else SSC
        which = {"train": split == "train"} if make is SHD else {"split": split}
        yield make(file, seed=seed, transform=transform, **which)

"""Transforms of events in tonic's form: callables on a structured array of t (microseconds or steps), x and p.

tonic's own are used as they are: DropEvent, DropEventByTime, TimeJitter, UniformNoise. Those here are what it lacks for
a row of channels (its SpatialJitter wants two dimensions and cuts towards 0) and for SHD's published augmentation. Like
tonic's they draw from numpy's global stream, whose values are frozen; `seeded` sets it for a while and puts it back.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from tonic.transforms import UniformNoise

from delrec_bench.data.events import Block
from delrec_bench.errors import BenchError

Transform = Callable[[np.ndarray], np.ndarray]


@contextmanager
def seeded(*seeds: int) -> Iterator[None]:
    """numpy's global stream fixed by the seeds, and afterwards as it was."""
    before = np.random.get_state()
    np.random.seed(np.random.SeedSequence(list(seeds)).generate_state(4))
    try:
        yield
    finally:
        np.random.set_state(before)


@dataclass(frozen=True)
class ChannelJitter:
    """Move each event by a normal number of channels, rounded; what leaves the channels is lost.

    Attributes:
        channels: C.
        std: Standard deviation in channels.
    """

    channels: int
    std: float

    def __call__(self, events: np.ndarray) -> np.ndarray:
        """The events moved."""
        events = events.copy()
        events["x"] += np.rint(np.random.normal(0, self.std, len(events))).astype(np.int64)
        return events[(events["x"] >= 0) & (events["x"] < self.channels)]


@dataclass(frozen=True)
class AddedNoise:
    """tonic's UniformNoise, its number of events a share of the sample's own.

    Attributes:
        channels: C.
        share: Noise events for each event.
    """

    channels: int
    share: float

    def __call__(self, events: np.ndarray) -> np.ndarray:
        """The events and the noise, sorted by time."""
        noise = UniformNoise(sensor_size=(self.channels, 1, 1), n=round(self.share * len(events)))
        noisy: np.ndarray = noise(events)
        return noisy


@dataclass(frozen=True)
class ChannelShift:
    """Move all events of a channel by one whole number, drawn for each channel from -by to by.

    What leaves the time from 0 to `end` is lost.

    Attributes:
        channels: C.
        by: Largest shift, in the unit of t.
        end: Length of a sample.
    """

    channels: int
    by: int
    end: int

    def __call__(self, events: np.ndarray) -> np.ndarray:
        """The events moved."""
        events = events.copy()
        events["t"] += np.random.randint(-self.by, self.by + 1, self.channels)[events["x"]]
        return events[(events["t"] >= 0) & (events["t"] < self.end)]


@dataclass(frozen=True)
class Merge:
    """Merge with another sample, moved so that the centres of mass agree, each event kept with a probability.

    What leaves the time from 0 to `end` is lost.

    Attributes:
        other: Events of a sample of the same class.
        kept: Probability of an event to be kept.
        end: Length of a sample.
    """

    other: np.ndarray
    kept: float
    end: int

    def __call__(self, events: np.ndarray) -> np.ndarray:
        """The events of both that were kept, sorted by time."""
        moved = self.other.copy()
        moved["t"] += round(self._centre(events) - self._centre(self.other))
        both = np.concatenate([events, moved])
        both = both[np.random.random_sample(len(both)) < self.kept]
        both = both[(both["t"] >= 0) & (both["t"] < self.end)]
        return both[np.argsort(both["t"], kind="stable")]

    def _centre(self, events: np.ndarray) -> float:
        """Mean time; the middle of an empty sample."""
        return float(events["t"].mean()) if len(events) else (self.end - 1) / 2


def through(
    block: Block, structured: Callable[[np.ndarray, np.ndarray], np.ndarray], transform: Transform, seed: int
) -> Block:
    """A block of samples through a transform, each sample with a stream fixed by the seed and its number.

    Raises:
        BenchError: The transform made an event before 0 or below channel 0.
    """
    made = []
    ends = np.cumsum(block.lengths)
    for number, (first, last) in enumerate(zip(ends - block.lengths, ends, strict=True)):
        events = structured(block.times[first:last], block.units[first:last])
        with seeded(seed, block.first + number):
            made.append(transform(events) if len(events) else events)
    lengths = np.array([len(events) for events in made], np.int64)
    events = np.concatenate(made)
    if len(events) and (events["t"].min() < 0 or events["x"].min() < 0):
        raise BenchError(f"{transform}: made an event before 0 or below channel 0; a transform must drop these")
    return Block(block.first, events["t"] / 1e6, events["x"].astype(np.int64), lengths)

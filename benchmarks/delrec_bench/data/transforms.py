"""Transforms of events in tonic's form, callables on a structured array of t (microseconds or steps), x and p; and the
conditions of the study `robustness`: what may happen to a test set's events, before they are binned.

tonic's own are used as they are: DropEvent, DropEventByTime, TimeJitter, UniformNoise. Those here are what it lacks for
a row of channels (its SpatialJitter wants two dimensions and cuts towards 0) and for SHD's published augmentation. Like
tonic's they draw from numpy's global stream, whose values are frozen; `seeded` sets it for a while and puts it back.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from tonic.transforms import DropEvent, DropEventByTime, TimeJitter, UniformNoise

from delrec_bench.errors import BenchError, nearest

Transform = Callable[[np.ndarray], np.ndarray]
EVENT = np.dtype([("t", np.int64), ("x", np.int64), ("p", np.int64)])  # tonic's, of a row of channels


@dataclass(frozen=True)
class EventBlock:
    """Consecutive samples: times in seconds (float64) and units (int64) of all, and the spikes of each."""

    first: int
    times: np.ndarray
    units: np.ndarray
    lengths: np.ndarray


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


def structured(times: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Events in tonic's form, of times in seconds; microseconds are cut to whole ones, as by tonic."""
    events = np.ones(len(times), EVENT)
    events["t"], events["x"] = times * 1e6, units
    return events


def through(
    block: EventBlock, structured: Callable[[np.ndarray, np.ndarray], np.ndarray], transform: Transform, seed: int
) -> EventBlock:
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
    return EventBlock(block.first, events["t"] / 1e6, events["x"].astype(np.int64), lengths)


class Condition(NamedTuple):
    """One kind of disturbance, written `name=level`, as `deletion=0.2`.

    Attributes:
        unit: Of a level.
        most: Largest level that means anything.
        make: The transform, from the level and the number of channels.
    """

    unit: str
    most: float
    make: Callable[[float, int], Transform]


CONDITIONS = {
    # every event is deleted with this probability
    "deletion": Condition("share of events", 1.0, lambda level, channels: DropEvent(p=level)),
    # all events of one stretch of the sample are deleted
    "gap": Condition("share of the sample", 0.99, lambda level, channels: DropEventByTime(duration_ratio=level)),
    # every event moves by a normal time; those before 0 are lost
    "time-jitter": Condition(
        "ms (standard deviation)",
        1e6,
        lambda level, channels: TimeJitter(std=level * 1000, clip_negative=True, sort_timestamps=True),
    ),
    # every event moves by a normal number of channels; those outside are lost
    "channel-jitter": Condition(
        "channels (standard deviation)", 1e6, lambda level, channels: ChannelJitter(channels, level)
    ),
    # events anywhere in time and channel are added
    "noise": Condition("added for each event", 100.0, lambda level, channels: AddedNoise(channels, level)),
}


def transform_of(text: str, channels: int) -> Transform:
    """The transform of `name=level`.

    Raises:
        BenchError: An unknown condition, or a level that is no number or out of range.
    """
    name, _, given = text.partition("=")
    if name not in CONDITIONS:
        raise BenchError(f"no condition '{name}'; {nearest(name, CONDITIONS)}")
    condition = CONDITIONS[name]
    try:
        level = float(given)
    except ValueError:
        level = math.nan
    if not 0 <= level <= condition.most:
        raise BenchError(f"condition '{text}': the level is a number from 0 to {condition.most:g} ({condition.unit})")
    return condition.make(level, channels)

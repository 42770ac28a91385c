"""Events in tonic's form, a structured array of t (microseconds or steps), x and p; and the conditions of the study
`robustness`: what may happen to a test set's events before they are binned.

tonic's own transforms are used as they are: DropEvent, DropEventByTime, TimeJitter, UniformNoise. Those here are what
it lacks for a row of channels (its SpatialJitter wants two dimensions and cuts towards 0). Like tonic's they draw from
numpy's global stream, whose values are frozen; `seeded` sets it for a while and puts it back.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from tonic.transforms import DropEvent, DropEventByTime, TimeJitter, UniformNoise

from delrec_bench.errors import BenchError, nearest

Transform = Callable[[np.ndarray], np.ndarray]
EVENT = np.dtype([("t", np.int64), ("x", np.int64), ("p", np.int64)])  # tonic's, of a row of channels


@dataclass(frozen=True)
class EventBlock:
    """Consecutive samples, their events one after the other.

    Attributes:
        first: Number of the first sample.
        times: Seconds (float64) of all events.
        units: Channels (int64) of all events.
        lengths: (n,) events of each sample.
        labels: (n,) class (int64).
        speakers: (n,), or None.
        exact: Whether times are whole microseconds; else these are cut to whole ones, as by tonic.
    """

    first: int
    times: np.ndarray
    units: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray | None = None
    exact: bool = False

    def samples(self) -> Iterator[np.ndarray]:
        """The events of each sample in tonic's form."""
        ends = np.cumsum(self.lengths)
        microseconds = self.times * 1e6
        events = np.ones(len(self.times), EVENT)
        events["t"], events["x"] = np.rint(microseconds) if self.exact else microseconds, self.units
        return (events[end - length : end] for length, end in zip(self.lengths, ends, strict=True))

    def through(self, transform: Transform, seed: int) -> "EventBlock":
        """The block after a transform, which each sample meets with a stream fixed by the seed and its number."""
        made = []
        for number, events in enumerate(self.samples(), self.first):
            with seeded(seed, number):
                made.append(transform(events) if len(events) else events)
        events = np.concatenate(made)
        lengths = np.array([len(events) for events in made], np.int64)
        return replace(self, times=events["t"] / 1e6, units=events["x"].astype(np.int64), lengths=lengths)


@contextmanager
def seeded(*seeds: int) -> Iterator[None]:
    """numpy's global stream fixed by the seeds, and afterwards as it was."""
    before = np.random.get_state()
    np.random.seed(np.random.SeedSequence(list(seeds)).generate_state(4))
    try:
        yield
    finally:
        np.random.set_state(before)


def jitter_channels(std: float, channels: int, events: np.ndarray) -> np.ndarray:
    """Move each event by a normal number of channels, rounded; what leaves the channels is lost."""
    events = events.copy()
    events["x"] += np.rint(np.random.normal(0, std, len(events))).astype(np.int64)
    return events[(events["x"] >= 0) & (events["x"] < channels)]


def add_noise(share: float, channels: int, events: np.ndarray) -> np.ndarray:
    """The events and `share` times as many anywhere in time and channel, sorted by time."""
    noisy: np.ndarray = UniformNoise(sensor_size=(channels, 1, 1), n=round(share * len(events)))(events)
    return noisy


class Condition(NamedTuple):
    """One kind of disturbance, written `name=level`, as `deletion=0.2`.

    Attributes:
        unit: Of a level.
        most: Largest level that means anything; the least is 0, the clean set.
        make: The transform, from the level and the number of channels.
    """

    unit: str
    most: float
    make: Callable[[float, int], Transform]
    least: float = 0.0


def _jittered(level: float, channels: int) -> Transform:
    return TimeJitter(std=level * 1000, clip_negative=True, sort_timestamps=True)


CONDITIONS = {
    # every event is deleted with this probability
    "deletion": Condition("share of events", 1.0, lambda level, channels: DropEvent(p=level)),
    # all events of one stretch of the sample are deleted
    "gap": Condition("share of the sample", 0.99, lambda level, channels: DropEventByTime(duration_ratio=level)),
    # every event moves by a normal time; those before 0 are lost
    "time-jitter": Condition("ms (standard deviation)", 1e6, _jittered),
    # every event moves by a normal number of channels; those outside are lost
    "channel-jitter": Condition("channels (standard deviation)", 1e6, lambda *of: partial(jitter_channels, *of)),
    # events anywhere in time and channel are added
    "noise": Condition("added for each event", 100.0, lambda *of: partial(add_noise, *of)),
}


def parse_level(text: str, kinds: Mapping[str, Any], what: str) -> tuple[str, float]:
    """Name and level of `name=level`; of `name` alone, and 0, where its kind has no unit."""
    name, equals, given = text.partition("=")
    if name not in kinds:
        raise BenchError(f"no {what} '{name}'; {nearest(name, kinds)}")
    kind = kinds[name]
    if not kind.unit:
        if equals:
            raise BenchError(f"{what} '{text}': {name} has no level; write {name} alone")
        return name, 0.0
    try:
        level = float(given)
    except ValueError:
        level = math.nan
    if not kind.least <= level <= kind.most:
        wanted = f"a number from {kind.least:g} to {kind.most:g} ({kind.unit})"
        raise BenchError(f"{what} '{text}': the level must be {wanted}")
    return name, level


def transform_of(text: str, channels: int) -> Transform:
    """The transform of a condition, `name=level`."""
    name, level = parse_level(text, CONDITIONS, "condition")
    return CONDITIONS[name].make(level, channels)

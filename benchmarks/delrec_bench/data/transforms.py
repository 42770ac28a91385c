"""Events in tonic's form, a structured array of t (microseconds or steps), x and p; and the conditions of the study
`robustness`: what may happen to a test set's events before they are binned.

tonic's own transforms are used as they are: DropEvent, DropEventByTime, TimeJitter, UniformNoise. `jitter_channels` is
what it lacks for a row of channels (its SpatialJitter wants two dimensions and cuts towards 0). Like tonic's it draws
from numpy's global stream, whose values are frozen; `seeded` sets that for a while and puts it back.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from tonic.transforms import DropEvent, DropEventByTime, TimeJitter, UniformNoise

from delrec_bench.errors import BenchError, nearest

Transform = Callable[[np.ndarray], np.ndarray]
EVENT = np.dtype([("t", np.int64), ("x", np.int64), ("p", np.int64)])  # tonic's, of a row of channels


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
    return UniformNoise(sensor_size=(channels, 1, 1), n=round(share * len(events)))(events)


class Kind(NamedTuple):
    """One kind of disturbance or lesion, written `name=level`, as `deletion=0.2`."""

    make: Callable[..., Any]
    unit: str = ""  # of a level, empty where there is none
    most: float = 0.0  # largest level that means anything
    least: float = 0.0


# (level, number of channels) -> transform; level 0 is the clean set
CONDITIONS = {
    # every event is deleted with this probability
    "deletion": Kind(lambda level, _: DropEvent(p=level), "share of events", 1.0),
    # all events of one stretch of the sample are deleted
    "gap": Kind(lambda level, _: DropEventByTime(duration_ratio=level), "share of the sample", 0.99),
    # every event moves by a normal time; those before 0 are lost
    "time-jitter": Kind(lambda ms, _: TimeJitter(1000 * ms, sort_timestamps=True), "ms (standard deviation)", 1e6),
    # every event moves by a normal number of channels; those outside are lost
    "channel-jitter": Kind(lambda *of: partial(jitter_channels, *of), "channels (standard deviation)", 1e6),
    # events anywhere in time and channel are added
    "noise": Kind(lambda *of: partial(add_noise, *of), "added for each event", 100.0),
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

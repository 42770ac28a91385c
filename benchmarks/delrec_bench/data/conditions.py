"""What may happen to a test set's events: the conditions of the study `robustness`, each a transform of tonic's kind.

A condition is written `name=level`, as `deletion=0.2`. It acts on the events of the files, before binning.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from tonic.transforms import DropEvent, DropEventByTime, TimeJitter

from delrec_bench.data.transforms import AddedNoise, ChannelJitter, Transform
from delrec_bench.errors import BenchError, nearest


@dataclass(frozen=True)
class Condition:
    """One kind of disturbance.

    Attributes:
        summary: What happens.
        unit: Of a level.
        levels: Those that the study asks for.
        most: Largest level that means anything.
        make: The transform, from the level and the number of channels.
    """

    summary: str
    unit: str
    levels: tuple[float, ...]
    most: float
    make: Callable[[float, int], Transform]


CONDITIONS = {
    "deletion": Condition(
        "every event is deleted with this probability", "share of events", (0.1, 0.3, 0.5, 0.7), 1.0,
        lambda level, channels: DropEvent(p=level),
    ),
    "gap": Condition(
        "all events of one stretch of the sample are deleted", "share of the sample", (0.1, 0.2, 0.4), 0.99,
        lambda level, channels: DropEventByTime(duration_ratio=level),
    ),
    "time-jitter": Condition(
        "every event moves by a normal time; those before 0 are lost", "ms (standard deviation)",
        (5.0, 10.0, 20.0, 40.0), 1e6,
        lambda level, channels: TimeJitter(std=level * 1000, clip_negative=True, sort_timestamps=True),
    ),
    "channel-jitter": Condition(
        "every event moves by a normal number of channels; those outside are lost", "channels (standard deviation)",
        (5.0, 10.0, 20.0, 40.0), 1e6, lambda level, channels: ChannelJitter(channels, level),
    ),
    "noise": Condition(
        "events anywhere in time and channel are added", "added for each event", (0.1, 0.3, 1.0, 3.0), 100.0,
        lambda level, channels: AddedNoise(channels, level),
    ),
}  # fmt: skip


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

"""The parts of a record: what each holds, field by field. `Record` puts them together."""

from typing import Annotated, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

DATA_KINDS = ("DRAWN", "EMBEDDED", "STAND-IN", "OFFICIAL")
LATENCY_RATIOS = ("train_ratio", "infer_ratio", "batch1_ratio")

_CLOSED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_OPEN = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Digest = Annotated[str, Field(min_length=1)]


@with_config(_OPEN)
class Data(TypedDict):
    """The data of a run; what the key says of it, and what a reader must know."""

    kind: Literal["DRAWN", "EMBEDDED", "STAND-IN", "OFFICIAL"]
    digest: Digest
    classes: NotRequired[Count]
    channels: NotRequired[Count]
    steps: NotRequired[Count]
    step_ms: NotRequired[float]
    representation: NotRequired[str]
    sizes: NotRequired[dict[str, Count]]
    files: NotRequired[dict[str, str]]
    augmentation: NotRequired[str | None]
    binning: NotRequired[str | None]
    validation: NotRequired[str | None]
    dropped_events: NotRequired[Count]
    notes: NotRequired[list[str]]


@with_config(_CLOSED)
class RunResult(TypedDict):
    """Of a run or a floor: the score of the test set, scored once, and how the epoch was chosen."""

    test_score: float
    selection: NotRequired[str]
    correct: NotRequired[Count]
    total: NotRequired[Count]
    best_epoch: NotRequired[Count]
    epochs: NotRequired[Count]
    valid_score: NotRequired[float | None]


@with_config(_CLOSED)
class TrialResult(TypedDict):
    """Of a trial of a search: it is scored on validation data alone and knows nothing of the test set."""

    valid_score: float | None
    failed: NotRequired[str | None]
    best_epoch: NotRequired[Count]
    epochs: NotRequired[Count]
    selection: NotRequired[str]


@with_config(_OPEN)
class LatencyResult(TypedDict):
    """Of a measurement of latency: a training step, inference of a batch, and of one whole sample (batch1).

    Ratios are to the no-delay network (`baseline`) in the same rounds; None where one was not measured. Milliseconds
    are medians, `_iqr` their quartiles. `run` is the key of the run whose network it is, `engines` says what ran each
    mode, `batch` how many samples (`published_batch` where memory held them all), `rates` the spikes per neuron and
    step of each layer, `threads` those of torch and numba.
    """

    train_ratio: Positive | None
    infer_ratio: Positive | None
    batch1_ratio: Positive | None
    train_ms: NotRequired[Positive | None]
    infer_ms: NotRequired[Positive | None]
    batch1_ms: NotRequired[Positive | None]
    run: NotRequired[Digest]
    baseline: NotRequired[str]
    batch: NotRequired[Count]
    published_batch: NotRequired[Count]
    threads: NotRequired[Count]
    engines: NotRequired[dict[str, str]]
    rates: NotRequired[list[float]]


@with_config(_CLOSED)
class Parameters(TypedDict, total=False):
    """Counts of parameters; weights + delays + neuron = total = trainable + frozen.

    Delays include spreads; `learned_delays` are those of the others that are trained.
    """

    weights: Count | None
    delays: Count | None
    neuron: Count | None
    trainable: Count | None
    frozen: Count | None
    total: Count | None
    spreads: Count | None
    learned_delays: Count | None


@with_config(_CLOSED)
class Fingerprint(TypedDict):
    """What another machine must find before training: outputs and first gradient in float64, four numbers a tensor.

    They are its norm, its products with two fixed vectors of signs, and how far rounding may move them, relative to
    the norm (`training.fingerprint`).
    """

    logits: list[list[float | None]]
    """Of each of the first samples."""
    gradient: dict[str, list[float | None]]
    """By name of the parameter."""


@with_config(_CLOSED)
class DelayUnits(TypedDict):
    """Some delays of a layer, evenly spaced among all: how each began and ended, and the mean |weight| it delays."""

    start: list[float]
    end: list[float]
    weight: NotRequired[list[float]]


@with_config(_CLOSED)
class LayerDelays(TypedDict):
    """The delays of one layer, in steps, at the start and at the chosen epoch.

    `start` and `end` are the quantiles 0, 10, ..., 100 percent; `moved` is the share of delays that deploy to another
    step than at the start.
    """

    layer: str
    kind: Literal["recurrent", "feedforward"]
    count: Count
    moved: float
    start: list[float]
    end: list[float]
    units: NotRequired[DelayUnits]

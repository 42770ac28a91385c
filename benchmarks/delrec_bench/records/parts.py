"""The parts of a record: what each holds, field by field. `Record` puts them together."""

import base64
from typing import Annotated, Any, Literal, NotRequired, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator, with_config
from typing_extensions import TypedDict

_CLOSED = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
_OPEN = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

DataKind = Literal["DRAWN", "EMBEDDED", "STAND-IN", "OFFICIAL"]
DATA_KINDS: tuple[str, ...] = get_args(DataKind)

Count = Annotated[int, Field(ge=0)]
Ratio = Annotated[float, Field(gt=0)]


@with_config(_OPEN)
class Data(TypedDict):
    """The data of a run: what the key says of it (`checks.IDENTITY`), its files, and what a reader must know."""

    kind: DataKind
    digest: Annotated[str, Field(min_length=1)]
    classes: NotRequired[Count]
    channels: NotRequired[Count]
    steps: NotRequired[Count]
    step_ms: NotRequired[float]
    sizes: NotRequired[dict[str, Count]]
    files: NotRequired[dict[str, str]]
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

    Ratios are to the no-delay network (`baseline`) in the same rounds; None where one was not measured. `train_ms` and
    so on are medians, `_iqr` of each its quartiles. `run` is the key of the run whose network it is, `engines` says
    what ran each mode, `batch` how many samples (`published_batch` where memory held them all), `rates` the spikes per
    neuron and step of each layer, `threads` those of torch and numba.
    """

    train_ratio: Ratio | None
    infer_ratio: Ratio | None
    batch1_ratio: Ratio | None


Parameters = dict[str, Count | None]
"""Counts of parameters; weights + delays + neuron = total = trainable + frozen.

Delays include `spreads`; `learned_delays` are those of the others that are trained.
"""


@with_config(_CLOSED)
class Fingerprint(TypedDict):
    """What another machine must find before training: outputs of each of the first samples, and the first gradient by
    name of the parameter, in float64, four numbers a tensor.

    They are its norm, its products with two fixed vectors of signs, and how far rounding may move them, relative to
    the norm (`training.fingerprint`).
    """

    logits: list[list[float | None]]
    gradient: dict[str, list[float | None]]


@with_config(_CLOSED)
class LayerDelays(TypedDict):
    """The delays of one layer, in steps, at the start and at the chosen epoch.

    `start` and `end` are the quantiles 0, 10, ..., 100 percent; `moved` is the share of delays that deploy to another
    step than at the start. `units` are some of the delays, evenly spaced among all: how each began and ended, and the
    mean |weight| that it delays.
    """

    layer: str
    kind: Literal["recurrent", "feedforward"]
    count: Count
    moved: float
    start: list[float]
    end: list[float]
    units: NotRequired[dict[Literal["start", "end", "weight"], list[float]]]


DType = Literal["|u1", "<u2", "<u4", "<i8", "<f4", "<f8"]  # the first that holds every value exactly is taken


class PerSample(BaseModel):
    """A column of numbers in the order of the test samples: base64 of their little-endian bytes.

    It is built from any sequence or array of finite numbers, and `numpy.asarray` gives the numbers back unchanged.
    Class ids take one byte a sample, outputs of a float32 network four.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dtype: DType = Field(description="NumPy's name of the number type")
    base64: str = Field(description="the numbers' bytes")

    @model_validator(mode="before")
    @classmethod
    def _packed(cls, values: Any) -> Any:
        if isinstance(values, dict | PerSample):
            return values
        array = np.asarray(values.tolist() if hasattr(values, "tolist") else values)
        if array.ndim != 1 or not array.size or array.dtype.kind not in "iuf":
            raise ValueError("a list of numbers, one for each test sample")
        kinds = [kind for kind in get_args(DType) if (kind[1] == "f") == (array.dtype.kind == "f")]
        with np.errstate(over="ignore"):
            exact = [kind for kind in kinds if np.array_equal(array, array.astype(kind))]
        if not exact:
            raise ValueError("finite numbers of 64 bits")
        return {"dtype": exact[0], "base64": base64.b64encode(array.astype(exact[0]).tobytes()).decode()}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        try:
            finite = np.isfinite(np.frombuffer(base64.b64decode(self.base64, validate=True), self.dtype)).all()
        except ValueError as error:
            raise ValueError(f"base64 of {self.dtype} ({error})") from error
        if not finite or not self.base64:
            raise ValueError("finite numbers")
        return self

    @property
    def array(self) -> NDArray[Any]:
        """(n,) numbers of the type `dtype`, read-only."""
        return np.frombuffer(base64.b64decode(self.base64), self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.array if dtype is None else self.array.astype(dtype)

    def __len__(self) -> int:
        return len(self.array)

    def tolist(self) -> list[Any]:
        """The numbers as Python's own."""
        return list(self.array.tolist())

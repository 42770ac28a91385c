"""One number for each test sample, as a record keeps it: predictions, targets, the cluster a sample belongs to."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

_TYPES = ("|u1", "<u2", "<u4", "<i8", "<f4", "<f8")  # the first that holds every value exactly is taken


class PerSample(BaseModel):
    """A column of numbers in the order of the test samples: base64 of their little-endian bytes.

    It is built from any sequence or array of finite numbers, and `numpy.asarray` gives the numbers back unchanged.
    Class ids take one byte a sample, outputs of a float32 network four.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dtype: Literal["|u1", "<u2", "<u4", "<i8", "<f4", "<f8"] = Field(description="NumPy's name of the number type")
    base64: str = Field(description="the numbers' bytes")

    @model_validator(mode="before")
    @classmethod
    def _packed(cls, values: Any) -> Any:
        if isinstance(values, dict | PerSample):
            return values
        array = np.asarray(values.tolist() if hasattr(values, "tolist") else values)
        if array.ndim != 1 or not array.size or array.dtype.kind not in "iuf":
            raise ValueError(f"must be a list of numbers, one a test sample, not {_short(values)}")
        kinds = _TYPES[:4] if array.dtype.kind in "iu" else _TYPES[4:]
        with np.errstate(over="ignore"):
            exact = [kind for kind in kinds if np.array_equal(array, array.astype(kind))]
        if not exact:
            raise ValueError(f"must hold finite numbers of 64 bits, not {_short(values)}")
        return {"dtype": exact[0], "base64": base64.b64encode(array.astype(exact[0]).tobytes()).decode()}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        try:
            data = base64.b64decode(self.base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"is not base64 ({error})") from error
        if not data or len(data) % np.dtype(self.dtype).itemsize:
            raise ValueError(f"{len(data)} bytes are no whole number of {self.dtype}")
        if not np.isfinite(np.frombuffer(data, self.dtype)).all():
            raise ValueError("must hold finite numbers")
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


def _short(values: Any) -> str:
    text = repr(values)
    return text if len(text) < 60 else text[:57] + "..."

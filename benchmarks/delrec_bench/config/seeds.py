"""What a seed changes, axis by axis."""

import hashlib
from typing import Annotated

from pydantic import Field

from delrec_bench.schema import settings

AXES = ("split", "permutation", "initialisation", "order")
TRIAL_SEED = 2**31 - 1  # a search's, for initialisation and order: that of no repetition ever reported

Seed = Annotated[int, Field(ge=0, le=TRIAL_SEED)]


@settings("seeds.")
class Seeds:
    """What differs between repetitions; methods compared at one repetition share the split and the permutation.

    Attributes:
        split: Which training samples are held out for validation.
        permutation: The order of pixels in permuted tasks.
        initialisation: Weights and delays at the start.
        order: Batch order, dropout masks and augmentation.
    """

    split: Seed = 0
    permutation: Seed = 0
    initialisation: Seed = 0
    order: Seed = 0

    @classmethod
    def of(cls, repetition: int, trial: bool = False) -> "Seeds":
        """Those of a repetition, the same number on every axis; a search's trial starts and orders by its own."""
        own = TRIAL_SEED if trial else repetition
        return cls(repetition, repetition, own, own)

    def stream(self, axis: str, *extra: int | str) -> int:
        """A 63-bit seed for one axis, independent of the other axes; `extra` may be an epoch, or what it is for."""
        text = ":".join(["delrec-bench", axis, str(getattr(self, axis)), *map(str, extra)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

"""What runs would take on one graphics card, by arithmetic. No engine for cards exists yet: nothing here is measured.

    seconds = updates * steps * layers * 2 * STEP_SECONDS + operations / (PEAK * SHARE)

The first term is the chain: a step of a layer waits for the one before it, forward and backward. The second is the
products. Validation and test are left out, and synaptic delays count as axonal ones.
"""

from collections.abc import Iterable

from delrec_bench.studies.cost import START_SECONDS
from delrec_bench.studies.load import Load

CARD = "NVIDIA H100 SXM"
STEP_SECONDS = 1e-5  # a product of a batch with weights on the chip, and spikes exchanged between its processors
PEAK = 67e12  # float32 operations a second, by its data sheet
SHARE = 1 / 3  # of them


def card_seconds(loads: Iterable[Load | None]) -> float:
    """Seconds of runs on one card, one after the other."""
    total = 0.0
    for load in loads:
        total += START_SECONDS
        if load is not None:
            total += load.updates * load.steps * load.layers * 2 * STEP_SECONDS + load.operations / (PEAK * SHARE)
    return total


def assumed() -> str:
    """What `card_seconds` assumes."""
    return (
        f"by arithmetic, not measured: no engine for cards exists yet; {CARD}, {1e6 * STEP_SECONDS:.0f} us for a step "
        f"of a layer in each direction, products at {100 * SHARE:.0f} percent of {PEAK / 1e12:.0f} TFLOP/s"
    )

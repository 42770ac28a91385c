"""How a network is trained: the settings of the one loop."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from delrec_bench.errors import BenchError

SCHEDULES = ("constant", "one-cycle", "cosine", "step", "plateau")
OPTIMISERS = ("adam", "adamw")


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained: every method goes through the one loop that reads this.

    Attributes:
        epochs: Passes over the training set.
        batch: Samples an update; a ragged last batch is kept.
        optimiser: "adam" (weight decay coupled, as L2) or "adamw" (decoupled).
        lr_weights: Learning rate of weights, biases and batch norm; the maximum for "one-cycle".
        lr_delays: Learning rate of delays and spreads, which have their own optimiser and no weight decay.
        lr_neuron: Learning rate of neuron parameters; None means that of the weights.
        weight_decay: On weights and biases; never on batch norm, delays, spreads or neuron parameters.
        schedule_weights: One of `SCHEDULES`, stepped once an epoch. "one-cycle" is torch's default OneCycleLR
            with total_steps = epochs: lr/25 to lr in 30 percent of training, then to lr/25e4, while Adam's
            beta1 goes .95, .85, .95. "cosine" ends at 0. "step" and "plateau" use the three fields below.
        schedule_delays: The same for delays.
        schedule_every: Epochs between the drops of "step".
        schedule_factor: What the rate is multiplied by at a drop of "step" or "plateau".
        schedule_patience: Epochs without a better validation score that "plateau" forgives.
        clip_value: Largest absolute gradient of a parameter, or None.
        clip_norm: Largest norm of the whole gradient, or None.
        selection: "validation" takes the epoch with the best validation score, "last" the last epoch.
        ties: Of equal validation scores take the "first" or the "last" epoch (the papers' >=).

    Raises:
        BenchError: A value is of the wrong type or out of range.
    """

    epochs: int = 30
    batch: int = 128
    optimiser: str = "adamw"
    lr_weights: float = 1e-3
    lr_delays: float = 5e-2
    lr_neuron: float | None = None
    weight_decay: float = 1e-5
    schedule_weights: str = "one-cycle"
    schedule_delays: str = "one-cycle"
    schedule_every: int = 10
    schedule_factor: float = 0.5
    schedule_patience: int = 1
    clip_value: float | None = None
    clip_norm: float | None = None
    selection: str = "validation"
    ties: str = "last"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "schedule_every"):
            _whole(name, getattr(self, name), 1)
        _whole("schedule_patience", self.schedule_patience, 0)
        for name in ("lr_weights", "lr_delays", "weight_decay"):
            _real(name, getattr(self, name), positive=False)
        _real("schedule_factor", self.schedule_factor, positive=True)
        for name in ("lr_neuron", "clip_value", "clip_norm"):
            if getattr(self, name) is not None:
                _real(name, getattr(self, name), positive=name != "lr_neuron")
        _choice("optimiser", self.optimiser, OPTIMISERS)
        _choice("schedule_weights", self.schedule_weights, SCHEDULES)
        _choice("schedule_delays", self.schedule_delays, SCHEDULES)
        _choice("selection", self.selection, ("validation", "last"))
        _choice("ties", self.ties, ("first", "last"))
        for item in fields(self):  # 1 and 1.0 are one setting, and must make one key
            value = getattr(self, item.name)
            if "float" in str(item.type) and isinstance(value, int):
                object.__setattr__(self, item.name, float(value))

    def canonical(self) -> dict[str, Any]:
        """Every field, for a record."""
        return asdict(self)


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BenchError(f"training.{name} is {value!r}; it must be a whole number, {least} or more")


def _real(name: str, value: Any, positive: bool) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (positive and value == 0):
        raise BenchError(
            f"training.{name} is {value!r}; it must be a number {'above' if positive else 'of at least'} 0"
        )


def _choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BenchError(f"training.{name} is {value!r}; it must be one of {', '.join(known)}")

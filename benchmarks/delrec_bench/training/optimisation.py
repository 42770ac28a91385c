"""The two optimisers of a network, of its weights and of its delays, and their schedules."""

from collections.abc import Mapping
from typing import Any

import torch
from delrec.training import grouped
from torch import Tensor, nn, optim
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from delrec_bench.config import TrainingConfig
from delrec_bench.errors import BenchError
from delrec_bench.metrics import metric_named

OVER_TRAINING = ("one-cycle", "cosine")  # schedules that span the whole training; the others count epochs


class Optimisation:
    """The two optimisers of a `delrec.Trainable`, of weights and of delays, and their schedules.

    `metric` is what "plateau" watches, `updates` how many there are in an epoch.
    """

    def __init__(self, model: Any, config: TrainingConfig, metric: str, updates: int) -> None:
        groups: dict[str, list[nn.Parameter]] = grouped(model, trainable=True)
        self.config, self.updates = config, updates
        self.parameters = [p for group in groups.values() for p in group]
        self.mode: Any = "max" if metric_named(metric).more_is_better else "min"
        rates = {"weights": config.lr_weights, "norm": config.lr_weights, "neuron": config.lr_neuron}
        self.optimisers: dict[str, Optimizer] = {}
        self.schedules: dict[str, LRScheduler | ReduceLROnPlateau | None] = {}
        self.by_update: set[str] = set()  # which of the schedules advance after every update
        self._add("weights", groups, rates, config.schedule_weights)
        self._add("delays", groups, {"delays": config.lr_delays}, config.schedule_delays)
        if not self.optimisers:
            raise BenchError(f"{type(model).__name__} has no parameters that require a gradient: nothing to train")

    def _add(self, name: str, groups: dict[str, Any], rates: Mapping[str, float | None], schedule: str) -> None:
        config = self.config
        optimised = [
            {
                "params": groups[group],
                "lr": config.lr_weights if rate is None else rate,
                "weight_decay": config.weight_decay if group == "weights" else 0.0,
            }
            for group, rate in rates.items()
            if groups.get(group)
        ]
        for parameter in (p for group in optimised for p in group["params"]):
            _check_dense(parameter)
        if optimised:
            kind: Any = {"adam": optim.Adam, "adamw": optim.AdamW}[config.optimiser]
            self.optimisers[name] = kind(optimised, fused=True)  # with an exact square root, see arithmetic.py
            self.schedules[name] = self._schedule(self.optimisers[name], schedule)
            if config.schedule_step == "update" and schedule in OVER_TRAINING:
                self.by_update.add(name)

    def _schedule(self, optimiser: Optimizer, name: str) -> LRScheduler | ReduceLROnPlateau | None:
        config = self.config
        steps = config.epochs * (self.updates if config.schedule_step == "update" else 1)
        if name == "one-cycle":
            rates = [group["lr"] for group in optimiser.param_groups]
            return lr_scheduler.OneCycleLR(optimiser, max_lr=rates, total_steps=steps)
        if name == "cosine":
            return lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
        if name == "step":
            return lr_scheduler.StepLR(optimiser, config.schedule_every, config.schedule_factor)
        if name == "plateau":
            factor, patience = config.schedule_factor, config.schedule_patience
            return ReduceLROnPlateau(optimiser, self.mode, factor=factor, patience=patience)
        return None

    def step(self, loss: Tensor) -> None:
        """Make one update from a scalar loss."""
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        if self.config.clip_value is not None:
            nn.utils.clip_grad_value_(self.parameters, self.config.clip_value)
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        for optimiser in self.optimisers.values():
            optimiser.step()

    def end_update(self) -> None:
        """Advance the schedules that step once an update."""
        for name in self.by_update:
            self.schedules[name].step()  # type: ignore[union-attr,call-arg]

    def end_epoch(self, score: float) -> None:
        """Advance the schedules that step once an epoch; "plateau" looks at the validation score."""
        for name, schedule in self.schedules.items():
            if isinstance(schedule, ReduceLROnPlateau):
                schedule.step(score)
            elif schedule is not None and name not in self.by_update:
                schedule.step()

    def rates(self) -> dict[str, float]:
        """Return the learning rates in use, `lr_weights` and `lr_delays`."""
        return {f"lr_{name}": float(one.param_groups[0]["lr"]) for name, one in self.optimisers.items()}

    def state(self) -> dict[str, Any]:
        """Return the state of the optimisers and their schedules, as tensors and plain values."""
        return {
            name: {"optimiser": optimiser.state_dict(), "schedule": schedule and schedule.state_dict()}
            for (name, optimiser), schedule in zip(self.optimisers.items(), self.schedules.values(), strict=True)
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave; a `KeyError` or `ValueError` where it is of other optimisers."""
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state[name]["optimiser"])
            if (schedule := self.schedules[name]) is not None:
                schedule.load_state_dict(state[name]["schedule"])


def _check_dense(parameter: nn.Parameter) -> None:
    """Refuse what torch's fused optimisers get wrong without a word: an element they do not find in its place."""
    if parameter.is_complex() or not torch.ops.aten.is_non_overlapping_and_dense(parameter):
        raise BenchError(
            f"a parameter of shape {tuple(parameter.shape)}, {parameter.dtype}, strides {parameter.stride()} cannot be "
            "trained: it must be real, and its elements must lie side by side; use nn.Parameter(tensor.contiguous())"
        )

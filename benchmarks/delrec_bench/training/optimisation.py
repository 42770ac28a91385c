"""The two optimisers of a network, weights' and delays', and their schedules."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn, optim
from torch.optim import lr_scheduler

from delrec_bench.config import TrainingConfig
from delrec_bench.metrics import metric_named


class Optimisation:
    """The two optimisers, weights' and delays', and their schedules."""

    def __init__(self, model: Any, config: TrainingConfig, metric: str) -> None:
        groups: dict[str, list[nn.Parameter]] = model.grouped(trainable=True)
        self.config = config
        self.parameters = [p for group in groups.values() for p in group]
        kind = {"adam": optim.Adam, "adamw": optim.AdamW}[config.optimiser]
        neuron = config.lr_weights if config.lr_neuron is None else config.lr_neuron
        weights = [
            {"params": groups.get("weights", []), "lr": config.lr_weights, "weight_decay": config.weight_decay},
            {"params": groups.get("norm", []), "lr": config.lr_weights, "weight_decay": 0.0},
            {"params": groups.get("neuron", []), "lr": neuron, "weight_decay": 0.0},
        ]
        self.weights = _optimiser(kind, weights, config, config.schedule_weights, metric)
        delays = [{"params": groups.get("delays", []), "lr": config.lr_delays, "weight_decay": 0.0}]
        self.delays = _optimiser(kind, delays, config, config.schedule_delays, metric)

    def step(self, loss: Tensor) -> None:
        """One update from a scalar loss."""
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        if self.config.clip_value is not None:
            nn.utils.clip_grad_value_(self.parameters, self.config.clip_value)
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        for pair in (self.weights, self.delays):
            if pair is not None:
                pair[0].step()

    def rates(self) -> dict[str, float]:
        """The learning rates in use."""
        names = ("lr_weights", "lr_delays")
        pairs = (self.weights, self.delays)
        return {n: float(p[0].param_groups[0]["lr"]) for n, p in zip(names, pairs, strict=True) if p is not None}

    def end_epoch(self, score: float) -> None:
        """Step the schedules; "plateau" looks at the validation score."""
        for pair in (self.weights, self.delays):
            if pair is None or pair[1] is None:
                continue
            if isinstance(pair[1], lr_scheduler.ReduceLROnPlateau):
                pair[1].step(score)
            else:
                pair[1].step()

    def state(self) -> dict[str, Any]:
        """The state of both optimisers and their schedules, as tensors and plain values."""
        found = {}
        for name, pair in (("weights", self.weights), ("delays", self.delays)):
            if pair is not None:
                schedule = None if pair[1] is None else pair[1].state_dict()
                found[name] = {"optimiser": pair[0].state_dict(), "schedule": schedule}
        return found

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave.

        Raises:
            KeyError, ValueError: It is of other optimisers.
        """
        for name, pair in (("weights", self.weights), ("delays", self.delays)):
            if pair is None:
                continue
            pair[0].load_state_dict(state[name]["optimiser"])
            if pair[1] is not None:
                pair[1].load_state_dict(state[name]["schedule"])


def _optimiser(kind: Any, groups: list[dict[str, Any]], config: TrainingConfig, schedule: str, metric: str) -> Any:
    groups = [group for group in groups if group["params"]]
    if not groups:
        return None
    optimiser = kind(groups)
    if schedule == "one-cycle":
        rates = [group["lr"] for group in groups]
        return optimiser, lr_scheduler.OneCycleLR(optimiser, max_lr=rates, total_steps=config.epochs)
    if schedule == "cosine":
        return optimiser, lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.epochs)
    if schedule == "step":
        return optimiser, lr_scheduler.StepLR(optimiser, config.schedule_every, config.schedule_factor)
    if schedule == "plateau":
        mode: Any = "max" if metric_named(metric).more_is_better else "min"
        return optimiser, lr_scheduler.ReduceLROnPlateau(
            optimiser, mode, factor=config.schedule_factor, patience=config.schedule_patience
        )
    return optimiser, None

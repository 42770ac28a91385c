"""The one training loop: every method goes through it, so that methods differ in nothing else.

train one epoch -> validate as deployed (rounded delays, sigma 0) -> step the schedules -> keep the best epoch
after the last epoch: score the test set once, as deployed
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from delrec import NotFiniteError, RecurrentDelays
from torch import Tensor, nn
from torch.optim import lr_scheduler

from delrec_bench.activity import recording
from delrec_bench.errors import RunError
from delrec_bench.protocol import HeldOut, Seeds, TrainingConfig, score_of

EVALUATION_BATCH = 256

Progress = Callable[[dict[str, Any]], None]


@dataclass
class Evaluation:
    """What one pass over samples gives: mean loss, score, a prediction a sample, and `Trainable.activity`."""

    loss: float
    score: float
    predictions: Tensor
    activity: dict[str, Any]


@dataclass
class Fit:
    """A trained network, standing at its chosen epoch.

    Attributes:
        history: One dict an epoch.
        best_epoch: The chosen epoch, counted from 1.
        valid_score: Its validation score.
        state: Its state_dict, which the network holds too.
        epoch_seconds: Wall time of each epoch.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    valid_score: float = math.nan
    state: dict[str, Tensor] = field(default_factory=dict)
    epoch_seconds: list[float] = field(default_factory=list)


def fit(
    model: Any,
    train: Any,
    valid: Any,
    config: TrainingConfig,
    *,
    metric: str = "accuracy",
    seeds: Seeds | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Fit:
    """Train `model` and leave it at the chosen epoch.

    Args:
        model: A `delrec.networks.Trainable`.
        train: Samples to learn from.
        valid: Samples that choose the epoch; None where a task has none, and then the last epoch is taken.
        config: Epochs, rates, schedules.
        metric: "accuracy" or "nmse".
        seeds: Batch order follows seeds.order.
        device: Where the network is.
        progress: Called with each epoch's history entry, and `epochs` in it.

    Raises:
        RunError: The loss is not finite.
    """
    seeds = seeds or Seeds()
    optimisation = Optimisation(model, config, metric)
    result = Fit()
    for epoch in range(config.epochs):
        start = time.perf_counter()
        model.begin_epoch(epoch, config.epochs)
        entry: dict[str, Any] = {"epoch": epoch + 1, **optimisation.rates()}
        before = model.delays()
        try:
            entry |= _train_epoch(model, train, config, optimisation, metric, seeds, epoch, device)
        except NotFiniteError as error:
            raise RunError(f"epoch {epoch + 1}: {error}; lower training.lr_weights or training.lr_delays") from error
        entry["sigma"] = sigma_of(model)
        model.end_epoch()
        entry["delays_changed"] = delays_changed(before, model.delays())
        chosen = True
        if valid is not None:
            with model.deployed():
                seen = evaluate(model, valid, metric, device)
            entry |= {"valid_loss": seen.loss, f"valid_{metric}": seen.score, "rates": seen.activity.get("rates", [])}
            chosen = config.selection == "last" or _better(seen.score, result, metric, config.ties)
        optimisation.end_epoch(entry.get(f"valid_{metric}", -entry["loss"]))
        if chosen:
            result.best_epoch = epoch + 1
            result.valid_score = entry.get(f"valid_{metric}", math.nan)
            result.state = {name: value.detach().clone() for name, value in model.state_dict().items()}
        result.history.append(entry)
        result.epoch_seconds.append(time.perf_counter() - start)
        if progress is not None:
            progress({**entry, "epochs": config.epochs})
    model.load_state_dict(result.state)
    return result


def score_test(model: Any, test: HeldOut, metric: str = "accuracy", device: str = "cpu") -> Evaluation:
    """Score the test set as deployed: rounded delays, sigma 0.

    Raises:
        ProtocolError: It was scored before.
    """
    samples = test.release("deployed")
    with model.deployed():
        return evaluate(model, samples, metric, device)


@torch.no_grad()
def evaluate(model: Any, samples: Any, metric: str = "accuracy", device: str = "cpu") -> Evaluation:
    """Run samples through the network in their order, without dropout.

    The score is correct / total (or NMSE over all samples), never a mean over batches.
    """
    model.eval()
    targets = samples.targets
    predictions = torch.empty(len(samples), dtype=torch.long if metric == "accuracy" else torch.float64)
    total = 0.0
    with recording(model) as activity:
        for indices in batches(len(samples), EVALUATION_BATCH):
            scores = model.classify(samples.batch(indices).to(device))
            total += float(model.loss(scores, targets[indices].to(device))) * len(indices)
            predictions[indices] = predict(model, scores, metric).cpu()
        seen = activity()
    return Evaluation(total / len(samples), score_of(metric, predictions, targets), predictions, seen)


def predict(model: Any, scores: Tensor, metric: str) -> Tensor:
    """Scores (B, classes) to one prediction a sample: the network's class, or for a regression the value itself."""
    found: Tensor = model.predict(scores) if metric == "accuracy" else scores.reshape(len(scores)).double()
    return found


def batches(count: int, size: int, generator: torch.Generator | None = None) -> Iterator[Tensor]:
    """Indices in pieces of `size`, shuffled if a generator is given; the last piece may be smaller."""
    order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
    yield from order.split(size)


def sigma_of(model: Any) -> float | None:
    """The largest spread of recurrent delays in steps, None in a network without them."""
    sigmas = [float(module.sigma) for module in model.modules() if isinstance(module, RecurrentDelays)]
    return max(sigmas) if sigmas else None


def delays_changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> int:
    """How many delays deploy to another step than before."""
    return sum(int((before[name].round() != after[name].round()).sum()) for name in after)


def _better(score: float, best: Fit, metric: str, ties: str) -> bool:
    if best.best_epoch == 0:
        return True
    if score == best.valid_score:
        return ties == "last"
    return score > best.valid_score if metric == "accuracy" else score < best.valid_score


def _train_epoch(
    model: Any,
    train: Any,
    config: TrainingConfig,
    optimisation: "Optimisation",
    metric: str,
    seeds: Seeds,
    epoch: int,
    device: str,
) -> dict[str, Any]:
    model.train()
    order = torch.Generator().manual_seed(seeds.stream("order", epoch))
    train.begin_epoch(seeds.stream("order"), epoch)
    total, correct = 0.0, 0
    for indices in batches(len(train), config.batch, order):
        targets = train.targets[indices].to(device)
        scores = model.classify(train.batch(indices).to(device))
        loss = model.loss(scores, targets)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise RunError(f"the loss is {value} in epoch {epoch + 1}: training diverged; lower training.lr_weights")
        optimisation.step(loss + model.penalty())
        model.after_step()
        total += value * len(indices)
        if metric == "accuracy":
            correct += int((predict(model, scores, metric) == targets).sum())
    entry = {"loss": total / len(train)}
    return entry | {"train_accuracy": correct / len(train)} if metric == "accuracy" else entry


class Optimisation:
    """The two optimisers, weights' and delays', and their schedules."""

    def __init__(self, model: Any, config: TrainingConfig, metric: str) -> None:
        groups: dict[str, list[nn.Parameter]] = model.grouped(trainable=True)
        self.config = config
        self.parameters = [p for group in groups.values() for p in group]
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimiser]
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
        mode: Any = "max" if metric == "accuracy" else "min"
        return optimiser, lr_scheduler.ReduceLROnPlateau(
            optimiser, mode, factor=config.schedule_factor, patience=config.schedule_patience
        )
    return optimiser, None

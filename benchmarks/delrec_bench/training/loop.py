"""The one training loop: every method goes through it, so that methods differ in nothing else.

train one epoch -> validate as deployed (rounded delays, sigma 0) -> step the schedules -> keep the best epoch
after the last epoch: score the test set once, as deployed
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from delrec import RecurrentDelays, SpikingLayer, check_finite, flush_denormals
from torch import Tensor, nn

from delrec_bench.config import Resolved, Seeds, TrainingConfig
from delrec_bench.errors import DivergedError
from delrec_bench.metrics import Metric, metric_named
from delrec_bench.training.fingerprint import fingerprint
from delrec_bench.training.optimisation import Optimisation
from delrec_bench.training.resuming import capture, restore, seed_everything
from delrec_bench.training.scoring import HeldOut, check_outputs, diverging, evaluate, predict, scores_of

Progress = Callable[[dict[str, Any]], None]


def engines_of(model: nn.Module) -> str:
    """Return the engines that ran in the last forward, joined by '+'; 'torch' if none did."""
    used = {m.engine_used for m in model.modules() if isinstance(m, SpikingLayer) and m.engine_used}
    return "+".join(sorted(used)) or "torch"


def build(resolved: Resolved) -> Any:
    """Return the network of a run, drawn from the seed of its initialisation, on its device and in its dtype."""
    settings, data = resolved.configuration, resolved.data
    seed_everything(resolved.seeds.stream("initialisation"))
    network = {**settings["network"], "engine": settings["engine"]}
    model = resolved.method.network(network, data.channels, data.classes)
    return model.to(device=resolved.device, dtype=getattr(torch, resolved.dtype))


def exact(device: str) -> AbstractContextManager[None]:
    """Inside, cudnn on a CUDA device neither rounds to TF32, as torch's default does, nor differs from run to run."""
    if device != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


@dataclass
class Fit:
    """A trained network, standing at its chosen epoch."""

    history: list[dict[str, Any]] = field(default_factory=list)  # a dict per epoch
    best_epoch: int = 0  # the chosen one, counted from 1
    valid_score: float = math.nan  # of that epoch
    test_score: float = math.nan  # of that epoch, where the test set chose it
    state: dict[str, Tensor] = field(default_factory=dict)  # its state_dict, which the network holds too
    epoch_seconds: list[float] = field(default_factory=list)  # wall time of each
    fingerprint: dict[str, Any] = field(default_factory=dict)  # before training, see `training.fingerprint`


@flush_denormals()  # gradients over hundreds of steps decay to them, and cost many times as much there
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
    keeper: Any = None,
    test: HeldOut | None = None,
    classes: int | None = None,
) -> Fit:
    """Train `model` and leave it at the chosen epoch.

    Args:
        model: A `delrec.Trainable`, on `device`.
        train: Samples to learn from, in the order that seeds.order gives.
        valid: Samples that choose the epoch; None where a task has none, and then the last epoch is taken.
        config: Epochs, rates, schedules.
        metric: Name of the metric that validation data are scored by.
        progress: Called with each epoch's history entry, and `epochs` in it.
        keeper: Keeps history and checkpoints, and may have one to go on from (`runs.folder.Checkpoints`).
        test: What selection "best-test" is by, released once an epoch; nothing else looks at it.
        classes: Scores that the network must give for each sample; None: it is not checked.

    Raises:
        BenchError: The network gives scores of another shape.
        DivergedError: The loss, or what a layer is given, is not finite.
        CheckpointError: The keeper's checkpoint is of another network.
    """
    seeds = seeds or Seeds()
    measure = metric_named(metric)
    optimisation = Optimisation(model, config, metric, updates=math.ceil(len(train) / config.batch))
    saved = keeper.checkpoint() if keeper is not None else None
    result = Fit()
    if saved is not None:
        restore(saved, model, optimisation, result)
    else:
        with diverging("epoch 1"):
            if classes is not None:
                check_outputs(model, train, classes, device)
            result.fingerprint = fingerprint(model, train, device)
    for epoch in range(len(result.history), config.epochs):
        start = time.perf_counter()
        with diverging(f"epoch {epoch + 1}"):
            entry = _train_epoch(model, train, optimisation, measure, seeds, epoch, device)
            if valid is not None:
                with model.deployed():
                    seen = evaluate(model, valid, metric, device)
                entry |= {"valid_loss": seen.loss, f"valid_{metric}": seen.score}
                entry["rates"] = seen.activity.get("rates", [])
            if config.selection == "best-test":
                assert test is not None
                with model.deployed():
                    entry[f"test_{metric}"] = evaluate(model, test.release(f"epoch {epoch + 1}"), metric, device).score
        optimisation.end_epoch(entry.get(f"valid_{metric}", measure.rank(entry["loss"])))
        if _is_chosen(entry, result, config, measure):
            result.best_epoch = epoch + 1
            result.valid_score = entry.get(f"valid_{metric}", math.nan)
            result.test_score = entry.get(f"test_{metric}", math.nan)
            result.state = {name: value.detach().clone() for name, value in model.state_dict().items()}
        result.history.append(entry)
        result.epoch_seconds.append(time.perf_counter() - start)
        if keeper is not None:
            keeper.epoch_ended(entry, lambda: capture(model, optimisation, result))
        if progress is not None:
            progress({**entry, "epochs": config.epochs})
    model.load_state_dict(result.state)
    return result


def _train_epoch(
    model: Any, train: Any, optimisation: Optimisation, metric: Metric, seeds: Seeds, epoch: int, device: str
) -> dict[str, Any]:
    """Go once through the training samples; return the epoch's history entry, whose rates are those it began with."""
    config = optimisation.config
    model.begin_epoch(epoch, config.epochs)
    entry: dict[str, Any] = {"epoch": epoch + 1, **optimisation.rates()}
    before = model.delays()
    model.train()
    order = torch.Generator().manual_seed(seeds.stream("order", epoch))
    train.begin_epoch(seeds.stream("order"), epoch)
    total = 0.0
    predictions: list[Tensor] = []
    seen: list[Tensor] = []
    for indices in torch.randperm(len(train), generator=order).split(config.batch):
        targets = train.targets[indices].to(device)
        scores = scores_of(model, train, indices, device)
        loss = model.loss(scores, targets)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss is {value} in epoch {epoch + 1}: training diverged; lower training.lr_weights"
            )
        optimisation.step(loss + model.penalty())
        optimisation.end_update()
        model.after_step()
        total += value * len(indices)
        predictions.append(predict(model, scores.detach(), metric).cpu())
        seen.append(targets.cpu())
    check_finite(model)
    entry["loss"] = total / len(train)
    entry[f"train_{metric.name}"] = metric.score(torch.cat(predictions).numpy(), torch.cat(seen).numpy())
    sigmas = (float(m.sigma) for m in model.modules() if isinstance(m, RecurrentDelays))
    entry["sigma"] = max(sigmas, default=None)  # the largest spread in steps
    model.end_epoch()
    moved = (before[name].round() != after.round() for name, after in model.delays().items())
    entry["delays_changed"] = sum(int(each.sum()) for each in moved)  # that deploy to another step than before
    return entry


def _is_chosen(entry: Mapping[str, Any], result: Fit, config: TrainingConfig, metric: Metric) -> bool:
    """Return whether an epoch takes the place of the one chosen so far."""
    by_test = config.selection == "best-test"
    score = entry.get(f"{'test' if by_test else 'valid'}_{metric.name}")
    if score is None or config.selection == "last" or result.best_epoch == 0:
        return True
    best = result.test_score if by_test else result.valid_score
    return config.ties == "last" if score == best else metric.better(score, best)

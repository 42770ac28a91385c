"""Samples through a trained network: predictions, score and activity; test data that is seen once, and lesions."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from delrec import FeedforwardDelays, NotFiniteError, RecurrentDelays, check_finite, flush_denormals
from delrec.delays import project
from torch import Tensor

from delrec_bench.config import Evaluation
from delrec_bench.config.tree import LESIONS
from delrec_bench.data.transforms import parse_level
from delrec_bench.errors import BenchError, DivergedError
from delrec_bench.metrics import Metric, metric_named
from delrec_bench.training.activity import recording
from delrec_bench.training.resuming import random_states, set_random_states

EVALUATION_BATCH = 256
DEPLOYED = Evaluation()


class ProtocolError(RuntimeError):
    """The protocol was about to be broken, as by scoring the test set twice: a bug, never a request."""


class HeldOut:
    """The test samples, released once for each evaluation condition.

    A run has one condition, "deployed" (rounded delays, sigma 0). A study may name others (noise, lesions, rounding),
    each scored once. One that exhibits test selection has a condition an epoch.
    """

    def __init__(self, samples: Any) -> None:
        self._samples = samples
        self._released: set[str] = set()

    def release(self, condition: str = "deployed") -> Any:
        """Return the samples, for the one scoring of `condition`; a `ProtocolError` where it was scored before."""
        if condition in self._released:
            raise ProtocolError(f"the test set was already scored for '{condition}'; it is scored once, after training")
        self._released.add(condition)
        return self._samples


@dataclass
class Scored:
    """One pass over samples: mean loss, score, the prediction for each sample, and `activity`."""

    loss: float
    score: float
    predictions: Tensor
    activity: dict[str, Any]


def score_test(
    model: Any,
    test: HeldOut,
    metric: str = "accuracy",
    device: str = "cpu",
    *,
    under: Evaluation = DEPLOYED,
    seed: int = 0,
) -> Scored:
    """Score the test set as deployed: rounded delays, sigma 0; or under a condition of evaluation.

    A lesion changes the network, with draws from `seed`; samples whose events are disturbed are given disturbed. A
    `ProtocolError` says that the set was scored under this condition before, a `DivergedError` that outputs are not
    finite.
    """
    samples = test.release(str(under))
    if under.lesion is not None:
        lesion_(model, under.lesion, seed)
    with diverging("the test set"), deployed_as(model, under.deployment):
        return evaluate(model, samples, metric, device)


@contextmanager
def diverging(where: str) -> Iterator[None]:
    """Raise DivergedError for what is not finite inside."""
    try:
        yield
    except NotFiniteError as error:
        raise DivergedError(f"{where}: {error}; lower training.lr_weights or training.lr_delays") from error


@torch.no_grad()
@flush_denormals()
def evaluate(model: Any, samples: Any, metric: str = "accuracy", device: str = "cpu") -> Scored:
    """Run samples through the network in their order, without dropout.

    The score is the metric's over all samples, never a mean over batches. A `NotFiniteError` says that an output, or
    the loss, is NaN or infinite.
    """
    model.eval()
    measure = metric_named(metric)
    targets = samples.targets
    predictions = torch.empty(len(samples), dtype=torch.long if measure.classifies else torch.float64)
    total = 0.0
    with recording(model) as activity:
        for indices in torch.arange(len(samples)).split(EVALUATION_BATCH):
            scores = scores_of(model, samples, indices, device)
            loss = float(model.loss(scores, targets[indices].to(device)))
            if not math.isfinite(loss) or scores.isnan().any():
                raise NotFiniteError("evaluation gives outputs that are not finite")
            total += loss * len(indices)
            predictions[indices] = predict(model, scores, measure).cpu()
        seen = activity()
    check_finite(model)
    return Scored(total / len(samples), measure.measured(predictions.numpy(), targets.numpy()), predictions, seen)


@torch.no_grad()
def check_outputs(model: Any, samples: Any, classes: int, device: str) -> None:
    """Refuse a network that does not give `classes` scores for each sample; the random state is left alone."""
    states = random_states()
    try:
        shape = scores_of(model.eval(), samples, torch.arange(1), device).shape
    finally:
        set_random_states(states)
    if shape[1] != classes:
        raise BenchError(f"{type(model).__name__} gives {shape[1]} scores for a sample; the task needs {classes}")


def scores_of(model: Any, samples: Any, indices: Tensor, device: str) -> Tensor:
    """Return the scores (B, classes) of the samples `indices`, given to the network in its own floating-point type."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    scores: Tensor = model.classify(samples.batch(indices, device).to(dtype))
    if scores.dim() != 2 or len(scores) != len(indices):
        shape = f"scores of shape {tuple(scores.shape)} for {len(indices)} samples"
        raise BenchError(f"{type(model).__name__} gives {shape}; its forward must return (T, B, classes)")
    return scores


def predict(model: Any, scores: Tensor, metric: Metric) -> Tensor:
    """Return one prediction for each sample from scores (B, classes): its class, or the value of a forecast.

    A class may be -1, which is always wrong. A `BenchError` refuses what a network's own `predict` gives instead.
    """
    if not metric.classifies:
        return scores.reshape(len(scores)).double()
    found, name = model.predict(scores), f"{type(model).__name__}.predict gives"
    if not isinstance(found, Tensor) or found.shape != scores.shape[:1] or found.dtype != torch.long:
        what = f"{found.dtype} of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise BenchError(f"{name} {what}; return the class of each sample, torch.int64 of shape ({len(scores)},)")
    wrong = found[(found < -1) | (found >= scores.shape[1])]
    if len(wrong):
        raise BenchError(
            f"{name} class {int(wrong[0])}; return classes from 0 to {scores.shape[1] - 1}, or -1 for none"
        )
    return found


def layers_with_delays(model: Any) -> list[RecurrentDelays | FeedforwardDelays]:
    """Return the layers of a network whose delays can be changed, in the order of its modules."""
    found = [
        module
        for module in model.modules()
        if isinstance(module, FeedforwardDelays)
        or (isinstance(module, RecurrentDelays) and "delay" in module._parameters)
    ]
    if not found:
        raise BenchError(f"{type(model).__name__} has no layer with delays; evaluate a network that has delays")
    return found


@torch.no_grad()
def lesion_(model: Any, text: str, seed: int) -> None:
    """Change the delays of every layer of a network, recurrent and feedforward, and nothing else; it is not undone.

    Delays stay in the range of their layer; a feedforward one is changed as a delay, and stands then at the position
    that gives it. What is drawn depends on the seed and the layers alone, so that two levels of one kind draw alike.
    """
    name, level = parse_level(text, LESIONS, "lesion")
    generator = torch.Generator().manual_seed(seed)

    def changed(delay: Tensor) -> Tensor:
        return LESIONS[name].make(delay.double().cpu(), level, generator).to(delay.device)

    for layer in layers_with_delays(model):
        if isinstance(layer, RecurrentDelays):
            layer.delay.copy_(project(changed(layer.delays()), layer.max_delay))
        else:
            centre = layer.left_padding - layer.window // 2  # in float64 both subtractions are exact
            layer.position.copy_(centre - changed(centre - layer.effective_position().double()))
            layer.clamp_()


@contextmanager
def deployed_as(model: Any, deployment: str | None) -> Iterator[None]:
    """Inside: the network as deployed; "unrounded" with real delays, "sigma" with the spread of its training."""
    layers = layers_with_delays(model) if deployment is not None else []
    sigmas = [(layer, layer.sigma.clone()) for layer in layers if isinstance(layer, RecurrentDelays)]
    if deployment == "sigma" and not sigmas:
        raise BenchError(
            "evaluation.deployment is 'sigma', but only recurrent delays have a sigma, and the network has none"
        )
    roundings = [layer.rounding for layer in layers]
    try:
        if deployment == "unrounded":
            for layer in layers:
                layer.rounding = "none"
        with model.deployed():
            if deployment == "sigma":
                for layer, sigma in sigmas:
                    layer.sigma.copy_(sigma)
            yield
    finally:
        for layer, rounding in zip(layers, roundings, strict=True):
            layer.rounding = rounding

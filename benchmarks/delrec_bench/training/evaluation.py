"""Samples through a trained network: predictions, score and activity."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from delrec_bench.metrics import Metric, metric_named
from delrec_bench.training.activity import recording
from delrec_bench.training.held_out import HeldOut

EVALUATION_BATCH = 256


@dataclass
class Evaluation:
    """What one pass over samples gives: mean loss, score, a prediction a sample, and `Trainable.activity`."""

    loss: float
    score: float
    predictions: Tensor
    activity: dict[str, Any]


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

    The score is the metric's over all samples, never a mean over batches.
    """
    model.eval()
    measure = metric_named(metric)
    targets = samples.targets
    predictions = torch.empty(len(samples), dtype=torch.long if measure.classifies else torch.float64)
    total = 0.0
    with recording(model) as activity:
        for indices in batches(len(samples), EVALUATION_BATCH):
            scores = model.classify(samples.batch(indices).to(device))
            total += float(model.loss(scores, targets[indices].to(device))) * len(indices)
            predictions[indices] = predict(model, scores, measure).cpu()
        seen = activity()
    return Evaluation(total / len(samples), measure.score(predictions.numpy(), targets.numpy()), predictions, seen)


def predict(model: Any, scores: Tensor, metric: Metric) -> Tensor:
    """Scores (B, classes) to one prediction a sample: the network's class, or for a regression the value itself."""
    found: Tensor = model.predict(scores) if metric.classifies else scores.reshape(len(scores)).double()
    return found


def batches(count: int, size: int, generator: torch.Generator | None = None) -> Iterator[Tensor]:
    """Indices in pieces of `size`, shuffled if a generator is given; the last piece may be smaller."""
    order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
    yield from order.split(size)

"""Samples through a trained network: predictions, score and activity; and test data that is seen once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from delrec import check_finite, flush_denormals
from torch import Tensor

from delrec_bench.config import Evaluation
from delrec_bench.metrics import Metric, metric_named
from delrec_bench.training.activity import recording
from delrec_bench.training.lesioned import deployed_as, lesion_

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

    def __len__(self) -> int:
        return len(self._samples)

    def release(self, condition: str = "deployed") -> Any:
        """Return the samples, for the one scoring of `condition`.

        Raises:
            ProtocolError: The condition was scored before.
        """
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

    Args:
        model: A trained network; a lesion changes it.
        test: The samples; under a condition of the events, those disturbed.
        metric: Name of the metric.
        device: Where the network is.
        under: What is done to the network.
        seed: Of what a lesion draws.

    Raises:
        ProtocolError: It was scored under this condition before.
    """
    samples = test.release(str(under))
    if under.lesion is not None:
        lesion_(model, under.lesion, seed)
    with deployed_as(model, under.deployment):
        return evaluate(model, samples, metric, device)


@torch.no_grad()
@flush_denormals()
def evaluate(model: Any, samples: Any, metric: str = "accuracy", device: str = "cpu") -> Scored:
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
            scores = model.classify(samples.batch(indices, device))
            total += float(model.loss(scores, targets[indices].to(device))) * len(indices)
            predictions[indices] = predict(model, scores, measure).cpu()
        seen = activity()
    check_finite(model)
    return Scored(total / len(samples), measure.score(predictions.numpy(), targets.numpy()), predictions, seen)


def predict(model: Any, scores: Tensor, metric: Metric) -> Tensor:
    """Return one prediction for each sample from scores (B, classes): its class, or the value of a forecast."""
    found: Tensor = model.predict(scores) if metric.classifies else scores.reshape(len(scores)).double()
    return found


def batches(count: int, size: int, generator: torch.Generator | None = None) -> Iterator[Tensor]:
    """Yield indices in pieces of `size`, shuffled if a generator is given; the last piece may be smaller."""
    order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
    yield from order.split(size)

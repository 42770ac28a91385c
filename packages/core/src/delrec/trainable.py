"""Base class of networks that a training loop can train.

The defaults suit any `nn.Module` that maps a sequence (T, B, C) to outputs (T', B, classes).
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from delrec.feedforward import FeedforwardDelays
from delrec.layer import Layer, deployed
from delrec.recurrent import RecurrentDelays
from delrec.spiking import SpikingLayer
from delrec.training import grouped


@dataclass(frozen=True)
class Counts:
    """Numbers of parameters by kind, and by whether they are trained.

    weights include biases and normalisation, delays include spreads. total = weights + delays + neuron = trainable +
    frozen. Of the delays, `spreads` are spreads, and `learned_delays` are trained delays without spreads.
    """

    weights: int
    delays: int
    neuron: int
    trainable: int
    frozen: int
    spreads: int = 0
    learned_delays: int = 0

    @property
    def total(self) -> int:
        """Every parameter, trainable or frozen."""
        return self.trainable + self.frozen


class Trainable(nn.Module):
    """Base class of networks for the training loop; B is the batch, T the number of steps."""

    def scores(self, outputs: Tensor) -> Tensor:
        """Reduce outputs (T', B, classes) to scores (B, classes): the sum over time."""
        return outputs.sum(0)

    def classify(self, inputs: Tensor) -> Tensor:
        """Return the scores (B, classes) of a batch of sequences (T, B, C)."""
        return self.scores(self(inputs))

    def predict(self, scores: Tensor) -> Tensor:
        """Return the class with the largest score, (B,); -1 for no class, which counts as wrong."""
        return scores.argmax(-1)

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of scores (B, classes) against targets (B,).

        Cross-entropy of classes (int64); of values (floating point, classes = 1) the squared error.
        """
        if target.is_floating_point():
            return F.mse_loss(scores, target.to(scores.dtype).view_as(scores))
        return F.cross_entropy(scores, target)

    def penalty(self) -> Tensor | float:
        """Return a term that the last forward adds to the loss, such as a spike penalty; 0 by default."""
        return 0.0

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Prepare for an epoch counted from 0: schedules of sigma and spread."""

    def after_step(self) -> None:
        """Clamp parameters to their range, after an optimiser step."""
        for module in self.modules():
            if isinstance(module, Layer):
                module.clamp_()

    def end_epoch(self) -> None:
        """Finish an epoch, before validation."""

    def deployed(self) -> AbstractContextManager[nn.Module]:
        """Return a context in which the network is as deployed; see `delrec.deployed`."""
        return deployed(self)

    def grouped(self, trainable: bool = False) -> dict[str, list[nn.Parameter]]:
        """Return the parameters by kind; see `delrec.training.grouped`."""
        return grouped(self, trainable)

    def count(self) -> Counts:
        """Count the parameters by kind, and by whether they are trained."""
        groups = self.grouped()
        sizes = {name: sum(p.numel() for p in group) for name, group in groups.items()}
        every = [p for group in groups.values() for p in group]
        trainable = sum(p.numel() for p in every if p.requires_grad)
        spreads = {id(p) for name, p in self.named_parameters() if name.rpartition(".")[2] == "spread"}
        return Counts(
            weights=sizes["weights"] + sizes["norm"],
            delays=sizes["delays"],
            neuron=sizes["neuron"],
            trainable=trainable,
            frozen=sum(sizes.values()) - trainable,
            spreads=sum(p.numel() for p in groups["delays"] if id(p) in spreads),
            learned_delays=sum(p.numel() for p in groups["delays"] if id(p) not in spreads and p.requires_grad),
        )

    def delays(self) -> dict[str, Tensor]:
        """Return the delays in use, in steps, by layer name."""
        found: dict[str, Tensor] = {}
        for name, module in self.named_modules():
            if isinstance(module, FeedforwardDelays | RecurrentDelays) and module.delay_kind != "none":
                found[name] = module.delays().clone()
        return found

    @property
    def streams(self) -> bool:
        """Whether `step` works: no output depends on later inputs."""
        return False

    def initial_state(self, batch: int) -> Any:
        """Return the state before the first step, for `step`."""
        raise ValueError(f"{type(self).__name__} does not stream: it has no single-step mode")

    def step(self, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take one step of input (B, C); return the output of that step (B, classes) and the next state."""
        raise ValueError(f"{type(self).__name__} does not stream: it has no single-step mode")

    def engines(self) -> str:
        """Return the engines that ran in the last forward, joined by '+'; 'torch' if none did."""
        used = {m.engine_used for m in self.modules() if isinstance(m, SpikingLayer) and m.engine_used}
        return "+".join(sorted(used)) or "torch"

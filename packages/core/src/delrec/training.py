"""Training: parameter groups, the sigma schedule, and the base class of networks for a training loop."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from delrec.checks import check_module, number, whole
from delrec.feedforward import FeedforwardDelays
from delrec.layer import Layer, deployed, place
from delrec.neurons import Neuron
from delrec.recurrent import RecurrentDelays

_NORMS = nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.RMSNorm | nn.GroupNorm


def grouped(module: nn.Module, trainable: bool = False) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of any `nn.Module` by kind: weights, norm, delays (with spreads), neuron.

    A parameter is a delay if it is named `delay`, `delays` or `spread`, or listed in its module's class attribute
    `delay_parameters`; those of `delrec.Neuron` subclasses are the neuron's; the rest are "norm" in normalisation
    layers and "weights" elsewhere. trainable: leave out parameters that are not trained. Raises AttributeError for a
    name in `delay_parameters` that is no parameter of the module.
    """
    groups: dict[str, list[nn.Parameter]] = {name: [] for name in ("weights", "norm", "delays", "neuron")}
    parts = check_module(module).modules()
    for part in module.modules():
        for name in getattr(type(part), "delay_parameters", ()):
            if not isinstance(getattr(part, name, ""), Tensor | None):
                where = f"{type(part).__name__}.delay_parameters"
                raise AttributeError(f"{where} lists '{name}', which is no parameter: give its names, as in ('lag',)")
    neurons = {part for neuron in parts if isinstance(neuron, Neuron) for part in neuron.modules()}
    for path, parameter in module.named_parameters():
        part, name = place(module, path)
        kind = "norm" if isinstance(part, _NORMS) else "weights"
        if name in ("delay", "delays", "spread", *getattr(type(part), "delay_parameters", ())):
            kind = "delays"
        if parameter.requires_grad or not trainable:
            groups["neuron" if part in neurons else kind].append(parameter)
    return groups


def parameter_groups(
    module: nn.Module, *, lr: float | None = None, delay_lr: float | None = None, neuron_lr: float | None = None,
    weight_decay: float | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return parameter groups for a torch optimiser: delays with their own rate, weight decay for weights only.

        Adam(parameter_groups(model, lr=1e-3, delay_lr=5e-2, weight_decay=1e-5))

    Args:
        module: Any `nn.Module` that contains layers of this package.
        lr: Learning rate; None leaves it to the optimiser.
        delay_lr, neuron_lr: For delays (with spreads) and neuron parameters; default lr.
        weight_decay: Applied to weights only; None leaves theirs to the optimiser.

    Each group has a "name". Raises ValueError for a negative rate or decay.
    """
    for field, value in (("lr", lr), ("delay_lr", delay_lr), ("neuron_lr", neuron_lr), ("weight_decay", weight_decay)):
        if value is not None:
            number(field, value, at_least=0)
    rates = {"delays": delay_lr, "neuron": neuron_lr}
    groups = []
    for name, parameters in grouped(module, trainable=True).items():
        rate = lr if rates.get(name) is None else rates[name]
        own = {"lr": rate, "weight_decay": weight_decay if name == "weights" else 0.0}
        if parameters:
            groups.append({"params": parameters, "name": name} | {k: v for k, v in own.items() if v is not None})
    return groups


class SigmaSchedule:
    """Sets sigma at the start of each epoch: sigma(epoch) = initial * decay^(100 epoch / epochs), epoch from 0.

    Args:
        initial: Spread in steps, at least 0. 0 keeps sigma at 0.
        decay: In (0, 1]; 1 keeps sigma constant.
        epochs: Number of epochs.

    Call `step(model)` at the START of every epoch. `state_dict()` and `load_state_dict()` resume it, as torch's
    schedulers. Raises ValueError for a setting out of range. Source: DelRec, arXiv 2509.24852, section 3.
    """

    def __init__(self, initial: float = 0.0, decay: float = 0.95, epochs: int | None = None) -> None:
        self.initial = number("sigma", initial, at_least=0)
        self.decay = number("sigma decay", decay, above=0, at_most=1)
        self.epochs = None if epochs is None else whole("epochs", epochs)
        self.epoch = 0

    def __call__(self, epoch: int) -> float:
        """Return sigma for an epoch counted from 0."""
        if self.epochs is None or epoch < 0:
            raise ValueError(f"epoch {epoch} of {self.epochs}: give SigmaSchedule(initial, decay, epochs), epoch >= 0")
        return self.initial * self.decay ** (100 * epoch / self.epochs)

    @torch.no_grad()
    def step(self, module: nn.Module) -> float:
        """At the start of an epoch, set sigma in every layer of `module` and return it."""
        sigma = self(self.epoch)
        for part in check_module(module).modules():
            if isinstance(part, Layer) and "sigma" in part._buffers:
                part.sigma.fill_(sigma)  # type: ignore[operator]
        self.epoch += 1
        return sigma

    def state_dict(self) -> dict[str, Any]:
        """Return the settings and the number of epochs started so far."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the schedule, including its settings, from a `state_dict`, like torch's schedulers."""
        if state.keys() != vars(self).keys():
            raise ValueError(f"state with {', '.join(state)}: give what state_dict() returned: {', '.join(vars(self))}")
        checked = SigmaSchedule(state["initial"], state["decay"], state["epochs"])
        checked.epoch = whole("epoch", state["epoch"], 0)
        vars(self).update(vars(checked))


def count_parameters(module: nn.Module) -> dict[str, int]:
    """Return the numbers of parameters of any `nn.Module` by kind, and by whether they are trained.

    weights include biases and normalisation, delays include spreads; weights + delays + neuron = trainable + frozen =
    total. Of the delays, `spreads` are spreads, and `learned_delays` are trained delays without spreads.
    """
    groups = grouped(module)
    sizes = {name: sum(p.numel() for p in group) for name, group in groups.items()}
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    spreads = {id(p) for name, p in module.named_parameters() if place(module, name)[1] == "spread"}
    return {
        "weights": sizes["weights"] + sizes["norm"],
        "delays": sizes["delays"],
        "neuron": sizes["neuron"],
        "trainable": trainable,
        "frozen": sum(sizes.values()) - trainable,
        "spreads": sum(p.numel() for p in groups["delays"] if id(p) in spreads),
        "learned_delays": sum(p.numel() for p in groups["delays"] if id(p) not in spreads and p.requires_grad),
        "total": sum(sizes.values()),
    }


class Trainable(nn.Module):
    """Base class of networks that a training loop can train; B is the batch, T the number of steps.

    The defaults suit any `nn.Module` that maps a sequence (T, B, C) to outputs (T', B, classes).
    """

    def scores(self, outputs: Tensor) -> Tensor:
        """Reduce outputs (T', B, classes) to scores (B, classes): the sum over time."""
        if not isinstance(outputs, Tensor):
            found = f"forward of {type(self).__name__} returned {type(outputs).__name__}"
            raise TypeError(f"{found}; return a tensor of shape (T, B, classes)")
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

    def delays(self) -> dict[str, Tensor]:
        """Return the delays in use, in steps, by layer name."""
        layers = ((n, m) for n, m in self.named_modules() if isinstance(m, FeedforwardDelays | RecurrentDelays))
        return {name: layer.delays().clone() for name, layer in layers if layer.delay_kind != "none"}

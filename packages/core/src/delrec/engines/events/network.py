"""A model as deployed, run by events from a list of its layers."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from delrec.engines.cpu import ENGINE as CPU
from delrec.engines.events.layer import EventLayer
from delrec.feedforward import FeedforwardDelays
from delrec.layer import FiniteWatch, Layer, NotFiniteError
from delrec.neurons import Neuron
from delrec.recurrent import RecurrentDelays
from delrec.spiking import SpikingLayer

_NOT_FINITE = "inputs hold NaN or infinity, which spikes would not show"


class EventNetwork:
    """A model as deployed (delays rounded, sigma 0, batch norm folded into the weights), run by events.

    layers: in the order in which they are applied, or a model that has them as `event_layers()` or is them
    (nn.Sequential). Each is an nn.Linear (`SpikeLinear`) or `FeedforwardDelays`; an nn.BatchNorm1d after one of
    these; a `SpikingLayer` or `RecurrentDelays`; a tensor () or (N,) that scales the current; nn.Dropout and
    nn.Identity, which do nothing; and last, if the output is a membrane, a `Neuron` that never fires, whose first state
    is the output. Without it the output is the last layer's current, or spikes. The layers are read once and left as
    `deployed()` leaves them. batch: rows of every input. dtype: float32 or float64.

    Raises ValueError, naming the layer, for a module of another kind, sizes that do not fit, recurrent delays that are
    not whole when deployed (rounding="none"), padding that would need input from the future, and neurons that the cpu
    engine cannot compile.
    """

    def __init__(self, layers: Any, batch: int = 1, dtype: torch.dtype = torch.float32) -> None:
        self.batch, self.dtype = batch, dtype
        self._watch = FiniteWatch()
        self.scores: Callable[[Tensor], Tensor] = getattr(layers, "scores", lambda outputs: outputs.sum(0))
        listed = hasattr(layers, "event_layers")
        if isinstance(layers, nn.Module) and not isinstance(layers, nn.Sequential) and not listed:
            raise ValueError(
                f"a {type(layers).__name__} does not say in which order its layers run: give a list of them, in order"
            )
        parts: list[Any] = list(layers.event_layers() if listed else layers)
        with ExitStack() as stack, torch.no_grad():
            for part in parts:
                if isinstance(part, Layer):
                    stack.enter_context(part.deployed())
            self.layers = [EventLayer(batch=batch, dtype=dtype, **layer) for layer in _layers(parts, dtype)]
        if not self.layers:
            raise ValueError("no layers: give at least one")
        for before, after in itertools.pairwise(self.layers):
            if before.size != after.inputs:
                raise ValueError(f"{before.size} outputs meet {after.inputs} inputs")
        self._zeros = torch.zeros(batch * self.layers[0].inputs, dtype=dtype).numpy()

    def reset(self) -> None:
        """Go back to rest."""
        for layer in self.layers:
            layer.reset()

    def step(self, inputs: Tensor) -> Tensor:
        """Push one step of input (B, inputs); return this step's output (B, classes).

        The output is a buffer that the next step overwrites. NotFiniteError for NaN or infinity; the state is kept.
        """
        values = self._checked(inputs, 2).view(-1).numpy()
        if values @ self._zeros != 0:  # NaN, as 0 times NaN or infinity is; a neuron would stay silent after it
            raise NotFiniteError(_NOT_FINITE)
        for layer in self.layers:
            values = layer.push(values)
        return self.layers[-1].output

    def run(self, inputs: Tensor) -> Tensor:
        """Return the outputs (T, B, classes) of a sequence (T, B, inputs), from rest; NotFiniteError for NaN."""
        values = self._checked(inputs, 3)
        self._watch.check(values, _NOT_FINITE)
        self.reset()
        for layer in self.layers:
            values = layer.run(values)
        return values

    def classify(self, inputs: Tensor) -> Tensor:
        """Return the scores (B, classes) of a sequence (T, B, inputs), from rest: summed, or as the model says."""
        scores: Tensor = self.scores(self.run(inputs))
        return scores

    def _checked(self, inputs: Tensor, dims: int) -> Tensor:
        wanted = (self.batch, self.layers[0].inputs)
        if inputs.dim() != dims or tuple(inputs.shape[-2:]) != wanted:
            shape = tuple(inputs.shape)
            raise ValueError(f"inputs have shape {shape}; this network takes (.., {wanted[0]}, {wanted[1]})")
        return inputs.detach().to(self.dtype).contiguous()


def _layers(parts: list[Any], dtype: torch.dtype) -> Iterator[dict[str, Any]]:
    """Yield the arguments of an `EventLayer` for each connection with the neurons behind it, and for other neurons."""
    connection: dict[str, Any] = {}
    for place, part in enumerate(parts):
        name = f"layer {place} ({type(part).__name__})"
        if isinstance(part, nn.Linear | FeedforwardDelays):
            if connection:
                yield connection | {"neuron": None}
            connection = _connection(name, part)
        elif isinstance(part, nn.BatchNorm1d | Tensor):
            if not connection:
                raise ValueError(f"{name} scales a current: put it after an nn.Linear or FeedforwardDelays")
            _scale(connection, name, part)
        elif isinstance(part, SpikingLayer | Neuron):
            neurons = _neurons(name, part, dtype)
            if connection and len(connection["weight"]) != part.size:
                raise ValueError(f"{len(connection['weight'])} outputs meet {part.size} neurons")
            yield connection | neurons
            connection = {}
        elif not isinstance(part, nn.Dropout | nn.Identity):
            raise ValueError(
                f"{name} cannot run by events: take nn.Linear, FeedforwardDelays, nn.BatchNorm1d, SpikingLayer, "
                "RecurrentDelays, nn.Dropout, nn.Identity, or a Neuron as the readout"
            )
    if connection:
        yield connection | {"neuron": None}


def _connection(name: str, layer: nn.Linear | FeedforwardDelays) -> dict[str, Any]:
    """Return a linear map as `EventLayer` takes it, in float64."""
    weight, delay = layer.weight.double(), None
    if isinstance(layer, FeedforwardDelays):
        if layer.right_padding or layer.left_padding != layer.window - 1:
            raise ValueError(
                f"{name} has left_padding = {layer.left_padding}, right_padding = {layer.right_padding}: an output "
                f"would need input from the future; streaming needs window - 1 = {layer.window - 1} and 0"
            )
        weight, delay = _elements(layer.dense_kernel().double())
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.double()
    return {"size": len(weight), "weight": weight, "bias": bias, "input_delay": delay}


def _elements(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a dense kernel (outputs, inputs, K), mostly zeros, into its elements: weights and delays (.., elements)."""
    count = max(1, int((kernel != 0).sum(-1).max()))
    tap = (kernel != 0).to(torch.uint8).sort(dim=-1, descending=True, stable=True).indices[..., :count]
    weight = kernel.gather(-1, tap)
    return weight, torch.where(weight != 0, kernel.shape[-1] - 1 - tap, 0)  # tap k reads the input K - 1 - k steps ago


def _scale(connection: dict[str, Any], name: str, by: nn.BatchNorm1d | Tensor) -> None:
    """Fold a factor, or batch normalisation by its running statistics, into a connection."""
    shift: Tensor | float = 0.0
    if isinstance(by, Tensor):
        scale = by.double()
    elif by.running_mean is None or by.running_var is None:
        raise ValueError(f"{name} keeps no running statistics: nothing can be folded")
    else:
        scale = (by.running_var.double() + by.eps).rsqrt()
        scale = scale if by.weight is None else scale * by.weight.double()
        shift = -by.running_mean.double() * scale
        shift = shift if by.bias is None else shift + by.bias.double()
    weight = connection["weight"]
    connection["weight"] = weight * scale.expand(len(weight)).view(-1, *[1] * (weight.dim() - 1))
    connection["bias"] = connection["bias"] * scale + shift


def _neurons(name: str, layer: SpikingLayer | Neuron, dtype: torch.dtype) -> dict[str, Any]:
    """Return neurons and their recurrence as `EventLayer` takes them."""
    neuron = layer if isinstance(layer, Neuron) else layer.neuron
    if reason := CPU.takes(neuron, "cpu", dtype):
        raise ValueError(f"{name}: the events engine {reason}")
    found: dict[str, Any] = {"size": layer.size, "neuron": neuron, "emit_state": layer is neuron}
    if isinstance(layer, RecurrentDelays):
        found |= {"recurrent": layer.effective_weight(), "delay": layer._delays_in_use()}
        if not torch.equal(found["delay"], found["delay"].round()):
            raise ValueError(
                f"{name} has delays that are not whole steps, and keeps them (rounding = {layer.rounding!r}), but a "
                "spike arrives in one step: call its round_(), or set another rounding"
            )
    return found

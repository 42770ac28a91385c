"""A model as deployed, run by events from a list of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from delrec.engines.cpu import ENGINE as CPU
from delrec.engines.events.layer import EventLayer
from delrec.layer import FiniteWatch
from delrec.neurons import Neuron

__all__ = ["EventNetwork"]


class EventNetwork:
    """A model as deployed (delays rounded, sigma 0, batch norm folded in the weights), run by events.

    layers: in the order in which they are applied, or a model that has them as `event_layers()` (a `Network`) or is
    them (nn.Sequential). Each is an nn.Linear (`SpikeLinear`) or `FeedforwardDelays`; an nn.BatchNorm1d after one of
    these; a `SpikingLayer` or `RecurrentDelays`; a tensor () or (N,) that scales the current; nn.Dropout and
    nn.Identity, which do nothing; and last, if the output is a membrane, a `Neuron` that never fires, whose first state
    is the output. Without it the output is the last layer's current, or spikes. The layers are read once and left
    alone. batch: rows of every input. dtype: float32 or float64.

    Raises ValueError, naming the layer, for a module of another kind, sizes that do not fit, padding that would need
    input from the future, and neurons that the cpu engine cannot compile.
    """

    def __init__(self, layers: Any, batch: int = 1, dtype: torch.dtype = torch.float32) -> None:
        self.batch, self.dtype = batch, dtype
        self._watch = FiniteWatch()
        self.scores: Callable[[Tensor], Tensor] = getattr(layers, "scores", lambda outputs: outputs.sum(0))
        self.layers: list[EventLayer] = []
        if (
            isinstance(layers, nn.Module)
            and not isinstance(layers, nn.Sequential)
            and not hasattr(layers, "event_layers")
        ):
            raise ValueError(
                f"a {type(layers).__name__} does not say in which order its layers run: give a list of them, in order"
            )
        listed: Iterable[Any] = layers.event_layers() if hasattr(layers, "event_layers") else layers
        with ExitStack() as stack, torch.no_grad():
            for layer in (parts := list(listed)):
                if hasattr(layer, "deployed"):
                    stack.enter_context(layer.deployed())
            group = _Group(self)
            for place, layer in enumerate(parts):
                group.take(f"layer {place} ({type(layer).__name__})", layer)
            group.close()
        if not self.layers:
            raise ValueError("no layers: give at least one")

    def reset(self) -> None:
        """Go back to rest."""
        for layer in self.layers:
            layer.reset()

    def step(self, inputs: Tensor) -> Tensor:
        """Push one step of input (B, inputs); return this step's output (B, classes).

        The output is a buffer that the next step overwrites.
        """
        values = self._checked(inputs, 2).view(-1).numpy()
        for layer in self.layers:
            values = layer.push(values)
        return self.layers[-1].output

    def run(self, inputs: Tensor) -> Tensor:
        """Return the outputs (T, B, classes) of a sequence (T, B, inputs), from rest; NotFiniteError for NaN."""
        values = self._checked(inputs, 3)
        self._watch.check(values, "inputs hold NaN or infinity: no spike would tell")
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


class _Group:
    """Collects what becomes one `EventLayer`: a connection, what scales its current, neurons."""

    def __init__(self, network: EventNetwork) -> None:
        self.network = network
        self._clear()

    def _clear(self) -> None:
        self.connection: Any = None
        self.scale: Any = None  # of the current, (N,), in float64; and what is added, likewise
        self.shift: Any = None

    def take(self, name: str, layer: Any) -> None:
        from delrec import FeedforwardDelays, RecurrentDelays, SpikingLayer

        if isinstance(layer, nn.Dropout | nn.Identity):
            return
        if isinstance(layer, nn.Linear | FeedforwardDelays):
            self.close()
            self._connect(name, layer)
        elif isinstance(layer, nn.BatchNorm1d | Tensor):
            if self.connection is None:
                raise ValueError(f"{name} scales a current: put it after an nn.Linear or FeedforwardDelays")
            self._scale(name, layer)
        elif isinstance(layer, SpikingLayer):
            weight = layer.effective_weight() if isinstance(layer, RecurrentDelays) else None
            delay = layer._delays_in_use() if isinstance(layer, RecurrentDelays) else None
            self._check(name, layer.neuron)
            self.close(neuron=layer.neuron, recurrent=weight, delay=delay, size=layer.size)
        elif isinstance(layer, Neuron):
            self._check(name, layer)
            self.close(neuron=layer, emit_state=True, size=layer.size)
        else:
            raise ValueError(
                f"{name} cannot run by events: take nn.Linear, FeedforwardDelays, nn.BatchNorm1d, SpikingLayer, "
                "RecurrentDelays, nn.Dropout, nn.Identity, or a Neuron as the readout"
            )

    def _check(self, name: str, neuron: Neuron) -> None:
        reason = CPU.takes(neuron, "cpu", self.network.dtype)
        if reason:
            raise ValueError(f"{name}: the events engine {reason}")

    def _connect(self, name: str, layer: Any) -> None:
        if hasattr(layer, "position") and (layer.right_padding or layer.left_padding != layer.window - 1):
            raise ValueError(
                f"{name} has left_padding = {layer.left_padding}, right_padding = {layer.right_padding}: an output "
                f"would need input from the future; streaming needs window - 1 = {layer.window - 1} and 0"
            )
        self.connection = layer
        bias = layer.bias
        size = layer.weight.shape[0]
        self.scale = torch.ones(size, dtype=torch.float64)
        self.shift = torch.zeros(size, dtype=torch.float64) if bias is None else bias.double()

    def _scale(self, name: str, layer: Any) -> None:
        if isinstance(layer, Tensor):
            scale, shift = layer.double(), 0.0
        elif layer.running_mean is None or layer.running_var is None:
            raise ValueError(f"{name} keeps no running statistics: nothing can be folded")
        else:
            scale = (layer.running_var.double() + layer.eps).rsqrt()
            scale = scale if layer.weight is None else scale * layer.weight.double()
            shift = -layer.running_mean.double() * scale
            shift = shift if layer.bias is None else shift + layer.bias.double()
        self.scale, self.shift = self.scale * scale, self.shift * scale + shift

    def close(self, *, size: int | None = None, neuron: Neuron | None = None, **rest: Any) -> None:
        """Make the layer that was collected, if any."""
        network, connection = self.network, self.connection
        if connection is None and neuron is None:
            return
        if connection is None:
            assert size is not None
            made = EventLayer(size, size, network.batch, network.dtype, neuron=neuron, weight=None, **rest)
        else:
            weight, ff_delay = connection.weight.double(), None
            if hasattr(connection, "position"):
                weight, ff_delay = _elements(connection.dense_kernel().double(), connection.left_padding)
            weight = weight * self.scale.view(-1, *[1] * (weight.dim() - 1))
            if size is not None and size != len(weight):
                raise ValueError(f"{len(weight)} outputs meet {size} neurons")
            made = EventLayer(
                weight.shape[1], len(weight), network.batch, network.dtype, neuron=neuron, weight=weight,
                bias=self.shift, ff_delay=ff_delay, **rest,
            )  # fmt: skip
        if network.layers and network.layers[-1].size != made.inputs:
            raise ValueError(f"{network.layers[-1].size} outputs meet {made.inputs} inputs")
        network.layers.append(made)
        self._clear()


def _elements(kernel: Tensor, left_padding: int) -> tuple[Tensor, Tensor]:
    """Turn a dense kernel (outputs, inputs, K), mostly zeros, into its elements: weights and delays (.., elements)."""
    window = kernel.shape[-1]
    count = max(1, int((kernel != 0).sum(-1).max()))
    place = (kernel != 0).to(torch.uint8).sort(dim=-1, descending=True, stable=True).indices[..., :count]
    weight = kernel.gather(-1, place)
    # tap k reads the input left_padding - k steps ago; taps that hold nothing may sit anywhere
    delay = torch.where(weight != 0, left_padding - place, left_padding - window + 1)
    return weight, delay.clamp(min=0)

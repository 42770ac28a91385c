"""A deployed model, run by events from a list of its layers."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from delrec.checks import NotFiniteError, check_input, whole
from delrec.engines import EngineError
from delrec.engines.cpu import ENGINE as CPU
from delrec.engines.cpu.codegen import BLOCK, OLD, places_of
from delrec.engines.cpu.common import Array, flat, padded
from delrec.engines.events.kernels import Layout, event_rows
from delrec.engines.threads import parallel
from delrec.feedforward import FeedforwardDelays
from delrec.layer import deployed
from delrec.linear import BatchNorm, SpikeLinear
from delrec.neurons import LIF, Neuron
from delrec.recurrent import RecurrentDelays
from delrec.spiking import SpikingLayer

_CHUNKS = 16  # parts of a batch that may run on different threads
_KINDS = (nn.Linear, SpikeLinear, FeedforwardDelays, nn.BatchNorm1d, BatchNorm, SpikingLayer, nn.Dropout, nn.Identity)
_CALLS = {None, *(kind.forward for kind in _KINDS), SpikingLayer._connections, RecurrentDelays._connections}


class EventNetwork:
    """A deployed model (delays rounded, sigma 0, batch norm folded into the weights), run by events.

    layers: a list in order of application, an nn.Sequential, or a model with a method `event_layers()`; read once. Each
    is an nn.Linear (`SpikeLinear`) or `FeedforwardDelays`; an nn.BatchNorm1d after one of these; a `SpikingLayer` or
    `RecurrentDelays`; a tensor () or (N,) that scales the current; nn.Dropout or nn.Identity, which do nothing. The
    output is the last layer's current or spikes, or the first state of a last `Neuron`, which must never fire.
    batch: rows of every input. dtype: float32 or float64.

    Raises EngineError without numba's compiler, and ValueError, naming the layer, for a module of another kind or with
    a forward or hook of its own, sizes that do not fit, recurrent delays that are not whole when deployed
    (rounding="none"), padding that would need input from the future, and neurons that cannot be compiled.
    """

    def __init__(self, layers: Any, batch: int = 1, dtype: torch.dtype = torch.float32) -> None:
        if CPU.broken:
            raise EngineError(f"EventNetwork {CPU.broken}")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype = {dtype!r}: give torch.float32 or torch.float64")
        self.batch, self.dtype = whole("batch", batch), dtype
        self.scores: Callable[[Tensor], Tensor] = getattr(layers, "scores", lambda outputs: outputs.sum(0))
        parts = list(layers.event_layers()) if hasattr(layers, "event_layers") else layers
        if not isinstance(parts, nn.Sequential | list | tuple):
            raise ValueError(f"layers of type {type(layers).__name__}: give a list of layers in their order")
        with deployed(nn.ModuleList(part for part in parts if isinstance(part, nn.Module))), torch.no_grad():
            self.layers = [EventLayer(batch=batch, dtype=dtype, **layer) for layer in _layers(parts, dtype)]
        if not self.layers:
            raise ValueError("no layers: give at least one")

    def __reduce__(self) -> Any:
        raise TypeError("an EventNetwork cannot be copied or pickled: make another from the layers")

    def reset(self) -> None:
        """Go back to rest."""
        for layer in self.layers:
            layer.reset()

    def step(self, inputs: Tensor) -> Tensor:
        """Push one step of input (B, inputs); return its output (B, classes), which the next step overwrites.

        Raises NotFiniteError for NaN or infinity in the inputs, without changing the state, or in the state; then call
        `reset()`.
        """
        values = self._checked(inputs, "B").view(-1).numpy()
        for layer in self.layers:
            values = layer.push(values)
        return self.layers[-1].output

    def run(self, inputs: Tensor) -> Tensor:
        """Return the outputs (T, B, classes) of a sequence (T, B, inputs), from rest; NotFiniteError as `step`."""
        values = self._checked(inputs, "T, B")
        self.reset()
        for layer in self.layers:
            values = layer.run(values)
        return values

    def classify(self, inputs: Tensor) -> Tensor:
        """Return the scores (B, classes) of a sequence (T, B, inputs), from rest: the model's `scores`, or the sum."""
        return self.scores(self.run(inputs))

    def _checked(self, inputs: Tensor, axes: str) -> Tensor:
        check_input("inputs", inputs, axes, self.layers[0].inputs)
        if inputs.shape[-2] != self.batch:
            raise ValueError(f"inputs of shape {tuple(inputs.shape)}: this network has batch = {self.batch}")
        if not inputs.is_cpu:
            raise ValueError(f"inputs on {inputs.device}: this network runs on the CPU; give inputs.cpu()")
        values = inputs.detach().to(self.dtype).contiguous()
        flat = values.view(-1).numpy()
        if np.vdot(flat, np.zeros_like(flat)) != 0:  # NaN or infinity times 0
            raise NotFiniteError("inputs hold NaN or infinity, after which neurons would stay silent")
        return values


def _layers(parts: Iterable[Any], dtype: torch.dtype) -> Iterator[dict[str, Any]]:
    """Yield the arguments of each `EventLayer`: a connection with the neurons behind it, or either of them alone."""
    connection: dict[str, Any] = {}
    outputs: int | None = None  # of the layers so far
    for place, part in enumerate(parts := list(parts)):
        name = f"layer {place} ({type(part).__name__})"
        if isinstance(part, nn.Module) and not isinstance(part, Neuron):
            _refuse_own(name, part)
            for hook in part._forward_pre_hooks.values():  # of torch: its pruned weights are made when a layer runs
                hook(part, ())
        if isinstance(part, nn.Linear | FeedforwardDelays):
            if connection:
                yield connection | {"neuron": None}
            connection = _connection(name, part)
            _fit(name, connection["weight"].shape[1], outputs)
            outputs = connection["size"]
        elif isinstance(part, nn.BatchNorm1d | Tensor):
            if not connection:
                raise ValueError(f"{name} scales a current: put it after an nn.Linear or FeedforwardDelays")
            _scale(connection, name, part)
        elif isinstance(part, SpikingLayer | Neuron):
            if isinstance(part, Neuron) and place < len(parts) - 1:
                raise ValueError(f"{name} gives its membrane, as a readout: put it last, or wrap it in SpikingLayer")
            if part.size is None:
                raise ValueError(f"{name} belongs to no layer: call its attach(N) first")
            _fit(name, part.size, outputs)
            yield connection | _neurons(name, part, dtype)
            connection, outputs = {}, part.size
        elif not isinstance(part, nn.Dropout | nn.Identity):
            raise ValueError(
                f"{name} cannot run by events: take nn.Linear, FeedforwardDelays, nn.BatchNorm1d, SpikingLayer, "
                "RecurrentDelays, nn.Dropout, nn.Identity, or a Neuron as the readout"
            )
    if connection:
        yield connection | {"neuron": None}


def _refuse_own(name: str, part: nn.Module) -> None:
    """Raise ValueError for a layer that computes something else than its parameters tell; torch's pruning does not."""
    before = [hook for hook in part._forward_pre_hooks.values() if not type(hook).__module__.startswith("torch.nn.")]
    calls = type(part).forward, getattr(type(part), "_connections", None)
    own = {"forward", "_connections"} & vars(part).keys() or type(part).__call__ is not nn.Module.__call__
    if own or part._forward_hooks or before or (isinstance(part, _KINDS) and not _CALLS.issuperset(calls)):
        raise ValueError(f"{name} computes in a way of its own (forward, connections or hook): remove that, or stream")


def _fit(name: str, takes: int, outputs: int | None) -> None:
    if outputs not in (None, takes):
        raise ValueError(f"{name} takes {takes} values, but the layer before it gives {outputs}")


def _connection(name: str, layer: nn.Linear | FeedforwardDelays) -> dict[str, Any]:
    """Return a linear map as `EventLayer` takes it, in float64."""
    weight, delay = layer.weight.double(), None
    if isinstance(layer, FeedforwardDelays):
        if layer.right_padding or layer.left_padding != layer.window - 1:
            padding = f"left_padding = {layer.left_padding}, right_padding = {layer.right_padding}"
            raise ValueError(f"{name} has {padding}: streaming needs window - 1 = {layer.window - 1} and 0")
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
    if scale.dim():
        _fit(name, scale.numel(), len(weight))
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
            raise ValueError(f"{name} keeps fractional delays (rounding = {layer.rounding!r}): call its round_()")
    return found


class EventLayer:
    """One layer by events: optionally a linear map, neurons, and a recurrence with whole delays.

    size: neurons or outputs. batch: rows. weight: (size, inputs), or (size, inputs, elements) with input_delay of that
    shape, in steps; None uses the input as the current. bias: (size,). neuron: None outputs the current. recurrent:
    (size, size), [receiver, sender], with delay (size,) or (size, size). emit_state: output the neuron's first state
    instead of spikes.
    """

    def __init__(
        self, size: int, batch: int, dtype: torch.dtype, *, neuron: Neuron | None, weight: Tensor | None = None,
        bias: Tensor | None = None, input_delay: Tensor | None = None, recurrent: Tensor | None = None,
        delay: Tensor | None = None, emit_state: bool = False,
    ) -> None:  # fmt: skip
        self.inputs = inputs = size if weight is None else weight.shape[1]
        self.size, self.batch, self.dtype = size, batch, dtype
        row = padded(size)

        def rows(matrix: Tensor | None, kind: torch.dtype = dtype) -> Array:
            """Return (size, inputs) or (size, inputs, elements) as (elements, inputs, row), flat."""
            matrix = torch.zeros(size, 0) if matrix is None else matrix.detach().cpu()
            return flat(pad(matrix.permute(*range(matrix.dim())[::-1]), (0, row - size)).to(kind))

        arrives = rows(input_delay, torch.int64)
        after = torch.zeros(size if recurrent is not None else 0) if delay is None else delay.detach().cpu().t()
        self.slots = 1 + max(int(arrives.max(initial=-1)), int(flat(after).max(initial=-1)) + 1)
        kind = 0 if recurrent is None else after.dim()
        ring = self.slots if kind == 2 or input_delay is not None else 0
        self._neuron = neuron or LIF().attach(size)  # which never runs
        self._places = places_of(self._neuron, dtype)
        self._rest = self._at_rest()
        self._drawn = not np.array_equal(self._rest, self._at_rest())
        real = self._rest.dtype
        reals = {
            "numbers": np.array(self._neuron.rules(dtype).numbers, real),
            "weight": rows(weight),
            "bias": np.zeros(row, real) if bias is None else rows(bias.unsqueeze(1)),
            "returning": rows(recurrent),
            "ring": np.zeros(batch * ring * row, real),
            "ones": np.ones(size, real),
            "work": self._rest,
            "values": np.zeros(batch * inputs, real),
            "current": np.zeros(batch * row, real),
        }
        clock, waiting = np.zeros(batch, np.int64), np.zeros(batch * self.slots, np.int64)
        longs = {"input_delay": arrives, "delay": flat(after.to(torch.int64)), "clock": clock, "waiting": waiting}
        queue = np.zeros(batch * self.slots * size if kind == 1 else 0, np.int32)
        shorts = {"columns": np.zeros(batch * inputs, np.int32), "queue": queue}
        places: dict[str, int] = {}
        self._reals, self._longs, self._shorts = (_packed(arrays, places) for arrays in (reals, longs, shorts))
        layout = Layout(
            batch=batch, inputs=inputs, size=size, padded=row, slots=self.slots, delayed=input_delay is not None,
            elements=0 if weight is None else weight[0, 0].numel(), recurrent=kind,
            output=2 if neuron is None else 1 if emit_state else 0, states=self._places.states,
            rows=self._places.rows, step=self._places.step, **places,
        )  # fmt: skip
        self._layout = np.array(layout, np.int64)
        self._ring, self._work = (self._reals[places[n] :][: len(reals[n])] for n in ("ring", "work"))
        self._clocks = self._longs[places["clock"] :]  # and the lengths of the queues
        self.output = torch.zeros(batch, size, dtype=dtype)
        self._out = self.output.view(-1).numpy()

    def _at_rest(self) -> Array:
        """Return initial states and coefficients as the compiled step reads them, block by block of neurons."""
        blocks, places, neuron = -(-self.size // BLOCK), self._places, self._neuron
        work = torch.zeros(self.batch, blocks, places.rows, BLOCK, dtype=self.dtype)
        like = torch.zeros(self.batch, self.size, dtype=self.dtype)
        start, coefficients = neuron.start_states(like), neuron.coefficients_like(like)
        neuron.rules(self.dtype).check(len(coefficients), len(start))
        for first, values in ((OLD, start), (places.coef, coefficients)):
            for j, value in enumerate(values):
                each = pad(value.detach().expand_as(like), (0, blocks * BLOCK - self.size))
                work[:, :, first // BLOCK + j] = each.view(-1, blocks, BLOCK)
        return flat(work)

    def reset(self) -> None:
        """Return to rest, without spikes on their way; random initial states are drawn anew."""
        self._work[:] = self._at_rest() if self._drawn else self._rest
        self._ring[:] = self._clocks[:] = 0

    def states(self) -> tuple[Tensor, ...]:
        """Return the neuron's states, each (B, size)."""
        work = torch.from_numpy(self._work).view(self.batch, -(-self.size // BLOCK), -1, BLOCK)
        planes = (work[:, :, OLD // BLOCK + j] for j in range(self._places.states))
        return tuple(plane.reshape(self.batch, -1)[:, : self.size].clone() for plane in planes)

    def run(self, inputs: Tensor) -> Tensor:
        """Continue with (T, B, inputs), contiguous and in the layer's dtype; return (T, B, size)."""
        out = torch.empty(inputs.shape[0], self.batch, self.size, dtype=self.dtype)
        x, y, chunks = inputs.view(-1).numpy(), out.view(-1).numpy(), min(self.batch, _CHUNKS)
        parallel(lambda j: self._call(self.batch * j // chunks, self.batch * (j + 1) // chunks, x, y), chunks)
        return out

    def push(self, inputs: Array) -> Array:
        """Take one step on flat arrays: B * inputs values in, B * size out, a buffer that the next step overwrites."""
        self._call(0, self.batch, inputs, self._out)
        return self._out

    def _call(self, begin: int, end: int, x: Array, out: Array) -> None:
        if event_rows(begin, end, self._layout, self._reals, self._longs, self._shorts, x, out):
            raise NotFiniteError("the state of the neurons is NaN or infinite: scale the input down, and call reset()")


def _packed(arrays: dict[str, Any], places: dict[str, int]) -> Array:
    """Join arrays of one type into one, and store in `places` where each begins."""
    begins = itertools.accumulate(map(len, arrays.values()), initial=0)
    places.update(zip(arrays, begins, strict=False))
    return np.concatenate(list(arrays.values()))

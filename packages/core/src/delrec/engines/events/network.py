"""The events engine: whole networks by their spikes alone, for inference with whole delays.

A spike is put in a queue (one delay a sender) or in a ring of future currents (one a connection) at the step where it
arrives; no spike, no work. `EventNetwork` runs a `delrec.networks.Network` over a sequence, or step by step as input
comes in, without allocating anything per step.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from delrec.engines.cpu import ENGINE as CPU
from delrec.engines.interface import Engine, Output, Request, State
from delrec.engines.threads import parallel
from delrec.neurons import LIF, Neuron

__all__ = ["ENGINE", "EventLayer", "EventNetwork"]

_DTYPES: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
_BLOCK = 64
_CHUNKS = 16  # parts of a batch that may run on different threads
_STEPS, _CLOCK = 2, 11  # places in a chunk's numbers that a call sets


class Events(Engine):
    """Inference by events; it must be named."""

    name = "events"
    devices = ()

    def supports(self, request: Request) -> str | None:
        """Return None where events can do it: no gradient, whole delays, no spread, no dropout, from rest, no trace."""
        reason = CPU.supports(request)
        if reason:
            return reason
        inputs = (request.current, request.weight, request.delay, *request.neuron.coefficients())
        if torch.is_grad_enabled() and any(i is not None and i.requires_grad for i in inputs):
            return "gives no gradients: use torch.no_grad()"
        if request.trace or request.state is not None or request.mask is not None:
            return "neither takes up a state, nor traces states, nor drops out"
        if request.delay is not None and request.width is not None:
            whole = bool((request.delay == request.delay.round()).all())
            if not whole or not bool((request.width == 1).all()):
                return "takes whole delays and sigma 0: use `with layer.deployed():`"
        return None

    def scan(self, request: Request) -> Output:
        """Run the layer by its spikes."""
        steps, batch, size = request.current.shape
        layer = EventLayer(
            size, size, batch, request.current.dtype, neuron=request.neuron, weight=None, recurrent=request.weight,
            delay=request.delay,
        )  # fmt: skip
        out = layer.run(request.current.detach().contiguous())
        kept = layer.slots if request.keep is None else request.keep
        silence = request.current.new_zeros(1, batch, size)
        past = torch.cat([silence, out])
        return Output(out, (), State(layer.states(), past[-kept:], kept <= steps), self.name)


class EventLayer:
    """One layer by events: a linear map (or none), neurons (or none), recurrence with whole delays (or none).

    inputs, size: widths. batch: rows. weight: (size, inputs), or (size, inputs, elements) with ff_delay of that
    shape, in steps; None takes the input as the current. bias: (size,). neuron: None hands out the current.
    recurrent: (size, size), [receiver, sender], with delay (size,) or (size, size). emit_state: hand out the
    neuron's first state, not spikes.
    """

    def __init__(
        self, inputs: int, size: int, batch: int, dtype: torch.dtype, *, neuron: Neuron | None,
        weight: Tensor | None, bias: Tensor | None = None, ff_delay: Tensor | None = None,
        recurrent: Tensor | None = None, delay: Tensor | None = None, emit_state: bool = False,
    ) -> None:  # fmt: skip
        from delrec.engines.cpu.codegen import kernels_for
        from delrec.engines.cpu.common import flat, padded

        self.inputs, self.size, self.batch, self.dtype = inputs, size, batch, dtype
        row = self.row = padded(size)
        real = _DTYPES[dtype]
        like = torch.zeros(0, dtype=dtype)

        def rows(matrix: Tensor) -> np.ndarray[Any, Any]:
            """(size, inputs, elements) -> (elements, inputs, row), flat."""
            out = matrix.new_zeros(*matrix.shape[1:][::-1], row)
            matrix = matrix.detach()
            out[..., :size] = matrix.permute(2, 1, 0) if matrix.dim() == 3 else matrix.t()
            return flat(out)

        form = 0 if weight is None else 1 if ff_delay is None else 2
        elements = weight.shape[2] if weight is not None and weight.dim() == 3 else 1
        offset = np.zeros(row, real)
        if bias is not None:
            offset[:size] = bias.detach().to(dtype).numpy()
        kind = 0 if recurrent is None else 1 if delay is None or delay.dim() == 1 else 2
        whole = np.zeros(0, np.int64)
        arrives = whole if ff_delay is None else rows(ff_delay.round().to(torch.int64))
        steps = torch.zeros(size) if delay is None else delay.detach().round()
        after = flat((steps.t() if steps.dim() == 2 else steps).to(torch.int64))
        longest = int(after.max()) + 1 if recurrent is not None else 0
        self.slots = 1 + max(longest, int(np.max(arrives)) if len(arrives) else 0)
        ring = self.slots * row if form == 2 or kind == 2 else 0
        self.neuron = neuron
        mode = 2 if neuron is None else 1 if emit_state else 0
        used = neuron if neuron is not None else LIF().attach(size)
        self._module = kernels_for(used, real, "events")
        coef = torch.stack([c.detach().to(dtype).expand(size) for c in used.coefficients()])
        start = torch.stack([s.detach().to(dtype).expand(size) for s in used.initial()])
        self._start = self._module_work(coef, start)
        chunks = min(batch, _CHUNKS)
        self._reals, at_real = _packed(
            flat(like) if weight is None else rows(weight.to(dtype)),
            offset,
            flat(like) if recurrent is None else rows(recurrent.to(dtype)),
            np.zeros(batch * ring, real),
            self._start,
            *[np.zeros(max(inputs, size), real) for _ in range(chunks)],
            np.ones(size, real),
            *[np.zeros(row, real) for _ in range(chunks)],
        )
        self._longs, at_long = _packed(arrives, after, np.zeros(batch * self.slots, np.int64))
        queue = np.zeros(batch * self.slots * size if kind == 1 else 0, np.int32)
        self._shorts, at_short = _packed(queue, *[np.zeros(inputs, np.int32) for _ in range(chunks)])
        self._ring, self._work = self._reals[slice(*at_real[3])], self._reals[slice(*at_real[4])]
        self._waiting = self._longs[slice(*at_long[2])]
        numbers = (batch, inputs, size, row, form, elements, kind, self.slots, 0, mode)
        # Each chunk of the batch has its own scratch, and so its own numbers and places; see `event_rows`.
        self._shapes = [
            np.array(
                [
                    batch * j // chunks,
                    batch * (j + 1) // chunks,
                    0,
                    *numbers,
                    *(
                        end
                        for at in (*at_real[:5], at_real[5 + j], at_real[5 + chunks], at_real[6 + chunks + j])
                        for end in at
                    ),
                    *(end for at in (*at_long, at_short[0], at_short[1 + j]) for end in at),
                ],
                np.int64,
            )
            for j in range(chunks)
        ]
        self._out = torch.zeros(1, batch, size, dtype=dtype)
        self._out_flat, self.output = self._out.view(-1).numpy(), self._out[0]
        self.reset()

    def _module_work(self, coef: Tensor, start: Tensor) -> np.ndarray[Any, Any]:
        """Lay out state and coefficients as the compiled step takes them, a block of neurons after the other."""
        count, blocks = len(start), (self.size + _BLOCK - 1) // _BLOCK
        work = torch.zeros(self.batch, blocks, self._module.WORK // _BLOCK, _BLOCK, dtype=self.dtype)
        fill = torch.zeros(len(coef) + count, blocks * _BLOCK, dtype=self.dtype)
        fill[:, : self.size] = torch.cat([start, coef])
        fill = fill.view(-1, blocks, _BLOCK).transpose(0, 1)
        work[:, :, 2 : 2 + count] = fill[:, :count]
        work[:, :, 2 + 2 * count : 2 + 2 * count + len(coef)] = fill[:, count:]
        self._count = count
        out: np.ndarray[Any, Any] = work.view(-1).numpy()
        return out

    def reset(self) -> None:
        """Go back to rest, with nothing on its way."""
        self._work[:] = self._start
        self._waiting[:] = 0
        self._ring[:] = 0
        self._clock = 0

    def states(self) -> tuple[Tensor, ...]:
        """Return the neuron's states, each (B, size)."""
        blocks = (self.size + _BLOCK - 1) // _BLOCK
        work = torch.from_numpy(self._work).view(self.batch, blocks, -1, _BLOCK)
        return tuple(work[:, :, 2 + j].reshape(self.batch, -1)[:, : self.size].clone() for j in range(self._count))

    def run(self, inputs: Tensor, out: Tensor | None = None) -> Tensor:
        """Go on through (T, B, inputs), contiguous and of the layer's dtype; return (T, B, size)."""
        if out is None:
            out = torch.empty(inputs.shape[0], self.batch, self.size, dtype=self.dtype)
        self._call(inputs.shape[0], inputs.view(-1).numpy(), out.view(-1).numpy())
        return out

    def step(self, inputs: Tensor) -> Tensor:
        """Take one step of (B, inputs); return (B, size), a buffer that the next step overwrites."""
        self.push(inputs.view(-1).numpy())
        return self.output

    def push(self, inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """`step` on flat arrays: B * inputs values in, B * size out."""
        self._call(1, inputs, self._out_flat)
        return self._out_flat

    def _call(self, steps: int, x: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None:
        rows, reals, longs, shorts = self._module.event_rows, self._reals, self._longs, self._shorts
        for shape in self._shapes:
            shape[_STEPS], shape[_CLOCK] = steps, self._clock
        if steps == 1 or len(self._shapes) == 1:
            for shape in self._shapes:
                rows(shape, reals, longs, shorts, x, out)
        else:
            parallel(lambda j: rows(self._shapes[j], reals, longs, shorts, x, out), len(self._shapes))
        self._clock = (self._clock + steps) % self.slots


class EventNetwork:
    """A `Network` as deployed (delays rounded, sigma 0, batch norm folded in the weights), run by events.

    network: the trained network; it is read once and left alone. batch: rows of every input. dtype: float32 or float64.
    Raises ValueError for a network that pads on the right, where an output would need input from the future, and for
    neurons that the cpu engine cannot compile.
    """

    def __init__(self, network: Any, batch: int = 1, dtype: torch.dtype = torch.float32) -> None:
        if not network.streams:
            raise ValueError("right_padding > 0: the last outputs come after the last input, so nothing can stream")
        self.network, self.batch, self.dtype = network, batch, dtype
        self.layers: list[EventLayer] = []
        with network.deployed(), torch.no_grad():
            for block in network.blocks:
                spiking = block.spiking
                reason = CPU.supports(Request(torch.zeros(1, 1, 1, dtype=dtype), spiking.neuron))
                if reason:
                    raise ValueError(f"events: the engine {reason}")
                weight = spiking.effective_weight() if hasattr(spiking, "effective_weight") else None
                delay = None if weight is None else spiking.effective_delay()
                self.layers.append(
                    self._layer(block.connection, block.norm, 1.0, neuron=spiking.neuron, recurrent=weight, delay=delay)
                )
            gain = 1.0 if network.leak is None else network._gain(network.leak.coefficients()[0])
            self.layers.append(
                self._layer(network.readout, network.readout_norm, gain, neuron=network.leak, emit_state=True)
            )

    def _layer(self, connection: Any, norm: Any, gain: Any, **rest: Any) -> EventLayer:
        weight, bias = connection.weight.double(), connection.bias
        ff_delay = None
        if hasattr(connection, "position"):
            kernel = connection.dense_kernel().double()
            weight, ff_delay = _elements(kernel, connection.left_padding)
        bias = weight.new_zeros(weight.shape[0]) if bias is None else bias.double()
        scale = torch.ones_like(bias)
        if norm is not None:
            scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            bias = (bias - norm.running_mean.double()) * scale + norm.bias.double()
        scale, bias = scale * gain, bias * gain
        weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
        sizes = (weight.shape[1], weight.shape[0])
        return EventLayer(*sizes, self.batch, self.dtype, weight=weight, bias=bias, ff_delay=ff_delay, **rest)

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
        """Return the outputs (T, B, classes) of a sequence (T, B, inputs), from rest."""
        values = self._checked(inputs, 3)
        self.reset()
        for layer in self.layers:
            values = layer.run(values)
        return values

    def classify(self, inputs: Tensor) -> Tensor:
        """Return the scores (B, classes) of a sequence (T, B, inputs), from rest."""
        scores: Tensor = self.network.scores(self.run(inputs))
        return scores

    def _checked(self, inputs: Tensor, dims: int) -> Tensor:
        wanted = (self.batch, self.layers[0].inputs)
        if inputs.dim() != dims or tuple(inputs.shape[-2:]) != wanted:
            shape = tuple(inputs.shape)
            raise ValueError(f"inputs have shape {shape}; this network takes (.., {wanted[0]}, {wanted[1]})")
        return inputs.detach().to(self.dtype).contiguous()


def _packed(*parts: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], list[tuple[int, int]]]:
    """Join arrays of one type into one; return it, and where each begins and ends."""
    ends = np.cumsum([0, *map(len, parts)]).tolist()
    return np.concatenate(parts), list(itertools.pairwise(ends))


def _elements(kernel: Tensor, left_padding: int) -> tuple[Tensor, Tensor]:
    """Turn a dense kernel (outputs, inputs, K), mostly zeros, into its elements: weights and delays (.., elements)."""
    window = kernel.shape[-1]
    count = max(1, int((kernel != 0).sum(-1).max()))
    place = (kernel != 0).to(torch.uint8).sort(dim=-1, descending=True, stable=True).indices[..., :count]
    weight = kernel.gather(-1, place)
    # tap k reads the input left_padding - k steps ago; taps that hold nothing may sit anywhere
    delay = torch.where(weight != 0, left_padding - place, left_padding - window + 1)
    return weight, delay.clamp(min=0)


ENGINE = Events()

"""One layer by its events: what a step needs lies in one array a type, and a spike costs the synapses it meets."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from delrec.engines.cpu.blocks import BLOCK
from delrec.engines.cpu.codegen import kernels_for
from delrec.engines.cpu.common import Array, flat, padded, real
from delrec.engines.threads import parallel
from delrec.neurons import LIF, Neuron

__all__ = ["EventLayer"]

_CHUNKS = 16  # parts of a batch that may run on different threads
_STEPS, _CLOCK = 2, 11  # places in a chunk's numbers that a call sets


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
        self.inputs, self.size, self.batch, self.dtype = inputs, size, batch, dtype
        row = self.row = padded(size)
        kind_of_number = real(dtype)
        like = torch.zeros(0, dtype=dtype)

        def rows(matrix: Tensor) -> Array:
            """(size, inputs, elements) -> (elements, inputs, row), flat."""
            out = matrix.new_zeros(*matrix.shape[1:][::-1], row)
            matrix = matrix.detach()
            out[..., :size] = matrix.permute(2, 1, 0) if matrix.dim() == 3 else matrix.t()
            return flat(out)

        form = 0 if weight is None else 1 if ff_delay is None else 2
        elements = weight.shape[2] if weight is not None and weight.dim() == 3 else 1
        offset = np.zeros(row, kind_of_number)
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
        self._module = kernels_for(used, kind_of_number, "events")
        coefficients = (c.detach().to(dtype).expand(1, size) for c in used.coefficients())
        coef = torch.cat([torch.zeros(0, size, dtype=dtype), *coefficients])
        start = torch.stack([s.detach().to(dtype).expand(size) for s in used.initial()])
        self._start = self._module_work(coef, start)
        chunks = min(batch, _CHUNKS)
        self._reals, at_real = _packed(
            flat(like) if weight is None else rows(weight.to(dtype)),
            offset,
            flat(like) if recurrent is None else rows(recurrent.to(dtype)),
            np.zeros(batch * ring, kind_of_number),
            self._start,
            *[np.zeros(max(inputs, size), kind_of_number) for _ in range(chunks)],
            np.ones(size, kind_of_number),
            *[np.zeros(row, kind_of_number) for _ in range(chunks)],
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

    def _module_work(self, coef: Tensor, start: Tensor) -> Array:
        """Lay out state and coefficients as the compiled step takes them, a block of neurons after the other."""
        count, blocks = len(start), (self.size + BLOCK - 1) // BLOCK
        work = torch.zeros(self.batch, blocks, self._module.WORK // BLOCK, BLOCK, dtype=self.dtype)
        fill = torch.zeros(len(coef) + count, blocks * BLOCK, dtype=self.dtype)
        fill[:, : self.size] = torch.cat([start, coef])
        fill = fill.view(-1, blocks, BLOCK).transpose(0, 1)
        work[:, :, 2 : 2 + count] = fill[:, :count]
        work[:, :, 2 + 2 * count : 2 + 2 * count + len(coef)] = fill[:, count:]
        self._count = count
        out: Array = work.view(-1).numpy()
        return out

    def reset(self) -> None:
        """Go back to rest, with nothing on its way."""
        self._work[:] = self._start
        self._waiting[:] = 0
        self._ring[:] = 0
        self._clock = 0

    def states(self) -> tuple[Tensor, ...]:
        """Return the neuron's states, each (B, size)."""
        blocks = (self.size + BLOCK - 1) // BLOCK
        work = torch.from_numpy(self._work).view(self.batch, blocks, -1, BLOCK)
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

    def push(self, inputs: Array) -> Array:
        """`step` on flat arrays: B * inputs values in, B * size out."""
        self._call(1, inputs, self._out_flat)
        return self._out_flat

    def _call(self, steps: int, x: Array, out: Array) -> None:
        rows, reals, longs, shorts = self._module.event_rows, self._reals, self._longs, self._shorts
        for shape in self._shapes:
            shape[_STEPS], shape[_CLOCK] = steps, self._clock
        if steps == 1 or len(self._shapes) == 1:
            for shape in self._shapes:
                rows(shape, reals, longs, shorts, x, out)
        else:
            parallel(lambda j: rows(self._shapes[j], reals, longs, shorts, x, out), len(self._shapes))
        self._clock = (self._clock + steps) % self.slots


def _packed(*parts: Array) -> tuple[Array, list[tuple[int, int]]]:
    """Join arrays of one type into one; return it, and where each begins and ends."""
    ends = np.cumsum([0, *map(len, parts)]).tolist()
    return np.concatenate(parts), list(itertools.pairwise(ends))

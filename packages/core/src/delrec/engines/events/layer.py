"""One layer by its events: what a step needs lies in one array per type, and a spike costs the synapses it meets."""

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from delrec.engines.cpu.codegen import BLOCK, kernels_for
from delrec.engines.cpu.common import Array, flat, padded
from delrec.engines.threads import parallel
from delrec.neurons import LIF, Neuron

_CHUNKS = 16  # parts of a batch that may run on different threads


class EventLayer:
    """One layer by events: a linear map (or none), neurons (or none), recurrence with whole delays (or none).

    size: neurons, or outputs. batch: rows. weight: (size, inputs), or (size, inputs, elements) with input_delay of that
    shape, in steps; None takes the input as the current. bias: (size,). neuron: None hands out the current.
    recurrent: (size, size), [receiver, sender], with delay (size,) or (size, size). emit_state: hand out the
    neuron's first state, not spikes.
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
            """(size, inputs) or (size, inputs, elements) -> (elements, inputs, row), flat."""
            matrix = torch.zeros(size, 0) if matrix is None else matrix.detach()
            return flat(pad(matrix.permute(*range(matrix.dim())[::-1]), (0, row - size)).to(kind))

        def zeros(*shape: int) -> Array:
            return flat(torch.zeros(shape, dtype=dtype))

        arrives = rows(input_delay, torch.int64)
        after = torch.zeros(size if recurrent is not None else 0) if delay is None else delay.detach().t()
        lasts = max(int(arrives.max(initial=-1)), int(flat(after).max(initial=-1)) + 1)
        self.slots = 1 + lasts
        self._module = kernels_for(neuron or LIF().attach(size), dtype, "events")
        self._rest = self._at_rest(neuron)
        reals = {
            "weight": rows(weight),
            "bias": zeros(row) if bias is None else rows(bias.unsqueeze(1)),
            "returning": rows(recurrent),
            "ring": zeros(batch, self.slots, row),
            "work": self._rest,
            "values": zeros(batch, inputs),
            "current": zeros(batch, row),
        }
        longs = {"input_delay": arrives, "delay": flat(after.to(torch.int64)), "clock": np.zeros(batch, np.int64)}
        shorts = {"columns": np.zeros(batch * inputs, np.int32)}
        places: dict[str, int] = {}
        self._reals, self._longs, self._shorts = (_packed(arrays, places) for arrays in (reals, longs, shorts))
        layout = self._module.Layout(
            batch=batch, inputs=inputs, size=size, padded=row, slots=self.slots, delayed=input_delay is not None,
            elements=0 if weight is None else weight[0, 0].numel(), recurrent=0 if recurrent is None else after.dim(),
            output=2 if neuron is None else 1 if emit_state else 0, **places,
        )  # fmt: skip
        self._layout = np.array(layout, np.int64)
        self._ring, self._work = (self._reals[places[n] :][: len(reals[n])] for n in ("ring", "work"))
        self._clock = self._longs[places["clock"] :]
        self.output = torch.zeros(batch, size, dtype=dtype)
        self._out = self.output.view(-1).numpy()

    def _at_rest(self, neuron: Neuron | None) -> Array:
        """Lay out states and coefficients as the compiled step takes them, a block of neurons after the other."""
        blocks, module = -(-self.size // BLOCK), self._module
        work = torch.zeros(self.batch, blocks, module.WORK // BLOCK, BLOCK, dtype=self.dtype)
        states, coefficients = ((), ()) if neuron is None else (neuron.initial(), neuron.coefficients())
        for first, values in ((module.OLD, states), (module.COEF, coefficients)):
            for j, value in enumerate(values):
                one = pad(
                    torch.as_tensor(value, dtype=self.dtype).detach().expand(self.size), (0, blocks * BLOCK - self.size)
                )
                work[:, :, first // BLOCK + j] = one.view(blocks, BLOCK)
        return flat(work)

    def reset(self) -> None:
        """Go back to rest, with nothing on its way."""
        self._work[:] = self._rest
        self._ring[:] = self._clock[:] = 0

    def states(self) -> tuple[Tensor, ...]:
        """Return the neuron's states, each (B, size)."""
        work = torch.from_numpy(self._work).view(self.batch, -(-self.size // BLOCK), -1, BLOCK)
        planes = (work[:, :, self._module.OLD // BLOCK + j] for j in range(self._module.STATES))
        return tuple(plane.reshape(self.batch, -1)[:, : self.size].clone() for plane in planes)

    def run(self, inputs: Tensor) -> Tensor:
        """Go on through (T, B, inputs), contiguous and of the layer's dtype; return (T, B, size)."""
        out = torch.empty(inputs.shape[0], self.batch, self.size, dtype=self.dtype)
        x, y, chunks = inputs.view(-1).numpy(), out.view(-1).numpy(), min(self.batch, _CHUNKS)
        parallel(lambda j: self._call(self.batch * j // chunks, self.batch * (j + 1) // chunks, x, y), chunks)
        return out

    def push(self, inputs: Array) -> Array:
        """Take one step on flat arrays: B * inputs values in, B * size out, which the next step overwrites."""
        self._call(0, self.batch, inputs, self._out)
        return self._out

    def _call(self, begin: int, end: int, x: Array, out: Array) -> None:
        self._module.event_rows(begin, end, self._layout, self._reals, self._longs, self._shorts, x, out)


def _packed(arrays: dict[str, Any], places: dict[str, int]) -> Array:
    """Join arrays of one type into one, and write in `places` where each begins."""
    begins = itertools.accumulate(map(len, arrays.values()), initial=0)
    places.update(zip(arrays, begins, strict=False))
    return np.concatenate(list(arrays.values()))

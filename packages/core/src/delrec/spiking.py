"""Layers of spiking neurons without recurrence; base class of the recurrent ones.

Every sequence is (T, B, N): time first, then batch, then neuron; with `batch_first` (B, T, N).
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from delrec.checks import FiniteWatch, Lengths, check_input, check_place, ends_of, flag, whole
from delrec.engines import Request, State, check_state, engine_for, run, transforming
from delrec.foreign import as_neuron
from delrec.layer import Layer, exact_dtype, plain_arithmetic, trainable
from delrec.neurons import Neuron


class SpikingOutput(NamedTuple):
    """Spikes, and the state and membrane if requested, else None. Shapes as in `SpikingLayer.forward`."""

    spikes: Tensor
    state: State | None = None
    membrane: Tensor | None = None


class SpikingLayer(Layer):
    """N spiking neurons without recurrent connections.

    Args:
        size, neuron, engine, batch_first, device, dtype: As in `RecurrentDelays`.

    Raises ValueError for a setting out of range, naming it.
    """

    _printed: ClassVar[str] = "size engine batch_first"

    def __init__(
        self, size: int, *, neuron: Neuron | Callable[..., Any] | None = None, engine: str = "auto",
        batch_first: bool = False, device: torch.device | str | None = None, dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        engine_for(engine, "cpu")
        check_place(device, dtype)
        self.size = whole("size", size)
        self.neuron = as_neuron(neuron).attach(size)
        low = dtype is not None or torch.get_default_dtype().itemsize < 4
        if device is not None or low:
            self.neuron.to(device=device, dtype=exact_dtype(dtype) if low else None)
        self.engine = engine
        self.engine_used: str | None = None
        self.batch_first = flag("batch_first", batch_first)
        self._watch = FiniteWatch()

    def forward(
        self, current: Tensor, state: State | None = None, *, lengths: Lengths | None = None,
        return_state: bool = False, return_membrane: bool = False,
    ) -> Tensor | SpikingOutput:  # fmt: skip
        """Run the layer over a sequence.

        Args:
            current: Feedforward current (T, B, N). Below float32 the layer computes in float32.
            state: From an earlier call with `return_state=True`; None starts from the resting state.
            lengths: (B,), number of steps in each sample, 0 to T. After its end a sample keeps its state and is silent.
            return_state: Also return the `State` after the last step.
            return_membrane: Also return the membrane potential after the reset, in the shape of the spikes.

        Returns:
            The spikes, (T, B, N) in the dtype of `current`; or (spikes, state, membrane) if `return_state` or
            `return_membrane` is set. Passing the state from call to call gives the same outputs and gradients, but for
            delays out of range: their gradient is stopped at the limit in each call by its own sign.

        Raises:
            ValueError: If a shape, dtype, length or the state does not match.
            TypeError: If `state` is not a `State`.
            NotFiniteError: If there is NaN or infinity (on a GPU possibly raised by a later call).
        """
        check_input("current", current, "B, T" if self.batch_first else "T, B", self.size)
        if not current.is_floating_point():
            raise ValueError(f"current of dtype {current.dtype}: give a floating-point tensor")
        if transforming():
            kind = type(self).__name__
            raise NotImplementedError(f"{kind} has no torch.func or forward-mode derivatives: use torch.autograd.grad")
        with plain_arithmetic(current.device.type):
            sequence = current.transpose(0, 1) if self.batch_first else current
            if current.dtype not in (torch.float32, torch.float64):
                sequence = sequence.float()
            self._watch.check(sequence, "current holds NaN or infinity: clean the input of this layer")
            if state is not None:
                check_state(state, self.neuron, sequence)
                state = state.map(trainable) if torch.is_grad_enabled() else state
            parts = self._connections(sequence)
            keep = self._history(parts, sequence, state) if return_state else 1
            ends = None if lengths is None else ends_of(lengths, sequence)
            request = Request(
                sequence, self.neuron, **parts, state=state, lengths=ends, trace=return_membrane, keep=keep
            )
            out = run(self.engine, request)
            self.engine_used = out.engine
            for values in out.final.states:
                self._watch.check(values, "the state of the neurons is NaN or infinite: training diverged")
            membrane = None
            if return_membrane:
                membrane = self.neuron.membrane(out.states, self.neuron.coefficients_like(sequence))
                membrane = (membrane.transpose(0, 1) if self.batch_first else membrane).to(current.dtype)
        spikes = (out.spikes.transpose(0, 1) if self.batch_first else out.spikes).to(current.dtype)
        if not (return_state or return_membrane):
            return spikes
        return SpikingOutput(spikes, out.final if return_state else None, membrane)

    def step(self, current: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run one time step: current (B, N), state from the last step (None is rest) -> spikes (B, N), next state."""
        check_input("current", current, "B", self.size)
        time = 1 if self.batch_first else 0
        out = self(current.unsqueeze(time), state, return_state=True)
        return out.spikes.squeeze(time), out.state

    def _history(self, parts: dict[str, Any], sequence: Tensor, state: State | None) -> int:
        """Return the number of past steps that a state keeps; parts is the result of `_connections`."""
        return 1

    def _connections(self, current: Tensor) -> dict[str, Any]:
        """Return the fields of a `Request` for the recurrent connections."""
        return {}

    def clamp_(self) -> None:
        """Clamp the neuron's parameters to their range, after an optimiser step."""
        self.neuron.clamp_()

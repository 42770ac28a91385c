"""What is generated for a neuron, as names: `scan_kernels` and the kernels of events are written against these.

`codegen` leaves out a file's import of this module and puts in its place the same names for one neuron, one dtype and
one kind of delay. `work` is one small array of ROWS blocks of BLOCK values, each at a constant place: a compiler then
knows that nothing overlaps and makes vectors of any neuron's step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCK = 64  # neurons of a block
REAL = np.float32
ONE, ZERO = REAL(1.0), REAL(0.0)
STATES = COEFS = PLANES = 1  # how many states, coefficients, and planes that are kept for the backward pass
READS_OLD = COEFFICIENTS_READ_OLD = True  # whether the adjoint reads the old states, for what (see `rules.Rules`)
# where rows of `work` begin: the spike, the current (then its gradient), old states, new states, coefficients, what is
# kept, and the gradients of spike, new (then old) states, coefficients
SPIKE = CURRENT = OLD = NEW = COEF = KEPT = G_SPIKE = G_NEW = G_COEF = 0
ROWS = 1


def step_block(work: Any, numbers: Any) -> None:
    """Take a step: CURRENT, OLD and COEF to SPIKE, NEW and KEPT; numbers: `rules.Rules.numbers`."""


def restore_block(work: Any, numbers: Any) -> None:
    """KEPT and COEF of the step before to OLD."""


def adjoint_block(work: Any, numbers: Any) -> None:
    """Gradients of SPIKE and NEW to those of the states before, of CURRENT (in its place) and of COEF."""


# of `axonal_kernels` or `synaptic_kernels`; `room` is the scratch of a tile, and rows of room.y are the recurrent
# current of a step in the forward pass, the gradient of its spikes in the backward pass


def forward_room(shape: Any, tables: Any, bits: Any, bits_at: Any) -> Any:
    """Make the scratch of the forward pass."""


def receive(t: Any, shape: Any, tables: Any, room: Any, bits: Any, bits_at: Any) -> None:
    """Fill room.y for step t."""


def send(t: Any, shape: Any, tables: Any, room: Any, bits: Any, bits_at: Any) -> None:
    """Send the spikes of step t."""


def backward_room(shape: Any, tables: Any) -> Any:
    """Make the scratch of the backward pass."""


def g_row(room: Any) -> Any:
    """Return the first row of room.g, the gradient of the recurrent current, that this step fills."""


def receive_gradient(
    t: Any, shape: Any, tables: Any, room: Any, bits: Any, bits_at: Any, wanted: Any, sums: Any
) -> None:
    """Fill room.y for step t, and add what its spikes give to the delays."""


def send_gradient(t: Any, shape: Any, tables: Any, room: Any, bits: Any, bits_at: Any, wanted: Any, sums: Any) -> None:
    """Send room.g back, and add its part of the weight's gradient."""


def send_silence(shape: Any, tables: Any, room: Any) -> None:
    """Send zeros back: a step before the first."""

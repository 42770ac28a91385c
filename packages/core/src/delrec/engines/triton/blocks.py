"""What is generated for a neuron, as names: `scan_kernels` is written against these.

`codegen` leaves out that file's import of this module and puts in its place the same names for one neuron and dtype.
Values are tiles (ROWS, COLS) of a step's (B, N); `at` their places, `ok` which of them there are. coef: (COEFS, N),
read at `cols` (COLS,), of which those `inside` are there. plane: numbers of one plane of all steps.
"""

from __future__ import annotations

from typing import Any

import triton.language as tl

REAL = tl.float32
STATES = COEFS = 1  # how many states, and coefficients


def step_tile(
    state: Any, wide: Any, trace: Any, kept: Any, plane: Any, at: Any, ok: Any, current: Any, coef: Any, cols: Any,
    inside: Any, size: Any, TRACED: Any, KEEP: Any,
) -> Any:  # fmt: skip
    """Take a step: the states at state + j wide + at become the next ones; return the spikes.

    They are also stored at trace + j plane + at where TRACED, and what the backward pass needs at kept + .. where KEEP.
    """


def adjoint_tile(
    before: Any, kept: Any, plane: Any, start: Any, wide: Any, t: Any, at: Any, ok: Any, g_spike: Any, carry: Any,
    g_trace: Any, coef: Any, g_coef: Any, cols: Any, inside: Any, size: Any, TRACE_GIVEN: Any, COEF: Any,
) -> Any:  # fmt: skip
    """Gradients of the spikes (g_spike) and states (carry) of a step to those of the step before, in carry.

    Returns the gradient of the current. before, kept: what was kept of the step before and of this one. start: the
    states before the first step. carry: (STATES, B, N). g_coef: (COEFS, N) of this program, to which the coefficients'
    gradients are added where COEF.
    """

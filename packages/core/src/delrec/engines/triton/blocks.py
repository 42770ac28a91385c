"""What is generated for a neuron, as names: `scan_kernels` is written against these.

`codegen` leaves out that file's import of this module and puts in its place the same names for one neuron and dtype.
Values are tiles (ROWS, COLS) of a step's (B, N); `at` their places, `ok` which of them there are.
"""

from __future__ import annotations

from typing import Any

import triton.language as tl

REAL = tl.float32
STATES = COEFS = 1  # how many states, and coefficients


def step_tile(
    old: Any, new: Any, plane: Any, start: Any, wide: Any, t: Any, at: Any, ok: Any, spike: Any, current: Any,
    coef: Any, cols: Any, inside: Any, size: Any,
) -> Any:  # fmt: skip
    """Take a step from states at old + j plane + at, S[t-1] and the current to states at new + ...; return S[t].

    In the first step the states are at start + j wide + at. coef: (COEFS, N), read at `cols` (COLS,), of which those
    `inside` are there.
    """


def adjoint_tile(
    old: Any, new: Any, plane: Any, start: Any, wide: Any, t: Any, at: Any, ok: Any, first: Any, g_spike: Any,
    carry: Any, g_trace: Any, trace_plane: Any, coef: Any, g_coef: Any, cols: Any, inside: Any, size: Any,
    TRACE_GIVEN: Any, COEF: Any,
) -> Any:  # fmt: skip
    """Gradients of the spikes (g_spike) and states (carry) of a step to those of the step before, in carry.

    Returns the gradient of the current. first: where S[-1] is; other S[t-1] follow from the states. carry: (1 + STATES,
    B, N), that of the spike first. g_coef: (COEFS, N) of this program, to which the coefficients' gradients are added
    where COEF.
    """

"""Synaptic delays on the cpu engine: one delay a connection, at a cost that does not grow with the spread.

A triangle of half-width s is the second difference of a ramp, so that its sum over a sequence is read off the twice
accumulated sequence G2 at three places, each between two steps (c = 1 + d, a = n + f with n = floor(a)):

    sum_k max(0, s - |k - c|) g[k] = R(c - s) - 2 R(c) + R(c + s),   R(a) = (1 - f) G2[n+1] + f G2[n+2]

With s = 1 the two taps are applied directly. What is not delivered (k < 1) lies in steps that are still zero, where G2
goes on as a straight line. The text below fills the holes of `cpu_template`; the tables are made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["SYNAPTIC", "Pairs", "pairs"]


@dataclass(frozen=True)
class Pairs:
    """Where each connection reads, as pairs of neighbouring steps; [receiver, sender] and its transpose.

    place, factor: (N, N, P) and (N, N, P, 2). span: (sender, receiver, 4), the steps that bound the triangle's left
    and right side, for the gradient of delay and half-width. ahead: how far places lie before step 1. length: steps
    that a ring must hold. direct: pairs are taps of the sequence itself, not of G2.
    """

    place: np.ndarray[Any, Any]
    factor: np.ndarray[Any, Any]
    place_t: np.ndarray[Any, Any]
    factor_t: np.ndarray[Any, Any]
    span: np.ndarray[Any, Any]
    ahead: int
    length: int
    direct: bool


@torch.no_grad()
def pairs(delay: Tensor, width: Tensor, reach: int, dtype: torch.dtype) -> Pairs:
    """Lay out the kernels of (N, N) delays; connections that no spike within `reach` steps can meet are dropped."""
    centre = 1 + delay.to(dtype)
    half = width.to(dtype).expand(delay.shape)
    direct = bool((half == 1).all())
    points = [(centre, torch.ones_like(centre))]
    if not direct:
        scale = 1 / half**2
        points = [(centre - half, scale), (centre, -2 * scale), (centre + half, scale)]
    met = (centre - half < reach + 1).to(dtype)
    places, factors = [], []
    for at, weight in points:
        n = at.floor()
        f = at - n
        # the ramp that starts at n + f reads G2 at n + 1 and n + 2; a tap between n and n + 1 reads those
        places.append(torch.where(met > 0, n + (0 if direct else 1), 1).to(torch.int32))
        factors.append(torch.stack([(1 - f) * weight * met, f * weight * met], -1))
    place, factor = torch.stack(places, -1), torch.stack(factors, -2)
    low, high = _edges(centre, half)
    span = torch.stack([low, (centre.ceil() - 1) + 1, centre.floor() + 1, high + 1], -1)
    span[..., 1:3] = torch.minimum(torch.maximum(span[..., 1:3], span[..., :1]), span[..., 3:])
    span = torch.where(met.unsqueeze(-1) > 0, span, 1).to(torch.int32)
    ahead = max(0, -int(place.min()))
    length = max(int(place.max()) + 2, int(span.max()) + 1) + ahead

    def flat(tensor: Tensor) -> np.ndarray[Any, Any]:
        return tensor.contiguous().view(-1).numpy()

    return Pairs(
        flat(place), flat(factor), flat(place.transpose(0, 1)), flat(factor.transpose(0, 1)),
        flat(span.transpose(0, 1)), ahead, length, direct,
    )  # fmt: skip


def _edges(centre: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """First and last tap with s - |k - c| >= 0, k >= 1, decided by the reference's own arithmetic."""

    def inside(k: Tensor) -> Tensor:
        return half - (k - centre).abs() >= 0

    low, high = (centre - half).ceil(), (centre + half).floor()
    low = torch.where(inside(low - 1), low - 1, torch.where(inside(low), low, low + 1)).clamp(min=1)
    high = torch.where(inside(high + 1), high + 1, torch.where(inside(high), high, high - 1))
    return low, torch.maximum(high, low - 1)


SYNAPTIC = {
    "forward_arguments": "place, factor, per, ahead, span_length, direct, weight",
    "forward_setup": """
    sent = aligned(padded * LANES, REAL)
    arrived = aligned(padded * LANES, REAL)
    once = aligned(padded * LANES, REAL)
    twice = aligned(padded * LANES, REAL)
    lines = span_length + SLACK
    ring = aligned(size * lines * LANES, REAL)
    position = SLACK + ahead
    for t in range(-prefix, 0):
        position = make_room(size, lines, span_length, ahead, position, direct, ring, ring, False, once, twice)
        bits_to_lanes(size, bits, bits_at + t, length, sent)
        push_lines(size, lines, position, direct, sent, ring, ring, False, once, twice)
""",
    "forward_receive": """
        position = make_room(size, lines, span_length, ahead, position, direct, ring, ring, False, once, twice)
        receive(size, lines, position, per, place, factor, weight, ring, arrived)
        to_rows(padded, arrived, rec)
""",
    "forward_send": """
        bits_to_lanes(size, bits, bits_at + t, length, sent)
        push_lines(size, lines, position, direct, sent, ring, ring, False, once, twice)
""",
    "backward_arguments": "place, factor, per, ahead, span_length, direct, span, weight, g_span, g_total",
    "backward_setup": """
    once = aligned(padded * LANES, REAL)
    twice = aligned(padded * LANES, REAL)
    lines = span_length + SLACK
    ring = aligned(size * lines * LANES, REAL)
    ring_once = aligned(size * lines * LANES, REAL)
    position = SLACK + ahead
    segment = 0
""",
    "backward_receive": """
        position = make_room(size, lines, span_length, ahead, position, direct, ring, ring_once, True, once, twice)
        if want_weight or want_delay:
            receive_back(
                size, padded, bits, bits_at + t, length, lines, position, per, place, factor, span, weight, ring,
                ring_once, want_delay, y_lanes, g_wt, g_span, g_total
            )
        else:
            receive(size, lines, position, per, place, factor, weight, ring, y_lanes)
        to_rows(padded, y_lanes, y)
""",
    "backward_silent": """
            gz[:] = 0
            push_lines(size, lines, position, direct, gz, ring, ring_once, True, once, twice)
""",
    "backward_send": """
            to_lanes(padded, g, 0, g_lanes)
            push_lines(size, lines, position, direct, g_lanes, ring, ring_once, True, once, twice)
""",
}

"""Delays: their range, interpolation kernel, spread, initialisation and rounding.

A spike of sender o at step t reaches receiver i at step t + 1 + d. A real delay d is spread over integer steps by
a triangle of half-width s around k = 1 + d:

    m[k] = max(0, s - |k - (1 + d)|) / s^2        k = 1, 2, ...

Tap k = 0 is never delivered, and the kernel is not renormalised. s = 1 is linear interpolation between two steps.
Source: DelRec, arXiv 2509.24852, section 3.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import relu

from delrec.checks import choose, number, readable

EPSILON = 1e-7  # of DCLS: keeps the normalisation finite if a kernel misses every tap


class _Project(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(delay: Tensor, highest: float, lowest: float) -> Tensor:
        inside = torch.where(delay < lowest, lowest, delay)  # NaN stays NaN
        return torch.where(inside > highest, highest, inside)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        delay, ctx.highest, ctx.lowest = inputs
        ctx.save_for_backward(delay)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (delay,), (grad,) = ctx.saved_tensors, grads
        leaves = ((delay < ctx.lowest) & (grad > 0)) | ((delay > ctx.highest) & (grad < 0))
        return torch.where(leaves, 0, grad), None, None


def project(delay: Tensor, highest: float | None = None, lowest: float = 0.0) -> Tensor:
    """Return the delay clamped to [lowest, highest], as every layer uses it; highest = None means no upper bound.

    The gradient passes within the bounds, inclusive, as in the published code. Outside, it passes only if it points
    back into the range, so a delay out of range is neither stuck nor driven further.
    """
    bounds = math.inf if highest is None else float(highest), float(lowest)
    if not (torch.is_grad_enabled() and delay.requires_grad) or torch.jit.is_tracing():
        return delay.clamp(lowest, highest)
    if delay.is_cpu and readable(delay) and delay.numel():
        smallest, largest = torch.aminmax(delay.detach())
        if lowest <= smallest and largest <= bounds[0]:
            return delay  # the usual case; a `Function` would double the time of a short call
    return _Project.apply(delay, *bounds)


def kernel_length(delay: Tensor, width: Tensor) -> int:
    """Return L, the number of taps 0 .. L-1 that cover every triangle: ceil(1 + max d + max s) + 1."""
    return math.ceil(1 + float(delay.detach().max()) + float(width.detach().max())) + 1


def triangle_kernel(delay: Tensor, width: Tensor, length: int) -> Tensor:
    """Return m of shape (*delay.shape, length), differentiable in delay and width.

    delay: any shape, in steps. width: the half-width s, broadcast against delay (per sender: its last axis).
    The gradient passes the clamp at its corner, sign(0) is 0, and nothing flows through `length`, as in the published
    code.
    """
    taps = torch.arange(length, device=delay.device, dtype=delay.dtype)
    width = width.to(delay.dtype).expand(delay.shape).unsqueeze(-1)
    distance = (taps - (1 + delay).unsqueeze(-1)).abs()
    room = width - distance
    return torch.where(room >= 0, room, 0) / width**2  # torch.clamp's gradient at its corner is 0 from torch 2.15 on


def triangle_support(delay: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and the last tap k >= 1 inside each triangle, corners included, as in `triangle_kernel`.

    delay: any shape; width is broadcast against it. Integers in delay's dtype; last = first - 1 without taps.
    """
    centre, width = 1 + delay, width.to(delay.dtype).expand(delay.shape)

    def inside(k: Tensor) -> Tensor:
        return width - (k - centre).abs() >= 0

    low, high = (centre - width).ceil(), (centre + width).floor()
    low = torch.where(inside(low - 1), low - 1, torch.where(inside(low), low, low + 1)).clamp(min=1)
    high = torch.where(inside(high + 1), high + 1, torch.where(inside(high), high, high - 1))
    return low, torch.maximum(high, low - 1)


def triangle_sides(delay: Tensor, width: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return each triangle's first tap k in 1 .. length - 1, its number of taps, and those before and after 1 + d.

    Integers in delay's dtype and shape. A tap may also lie at 1 + d. Without taps, the first is 1.
    """
    low, high = triangle_support(delay, width)
    high = high.clamp(max=length - 1)
    count = (high - low + 1).clamp(min=0)
    centre = 1 + delay
    left = (torch.minimum(high, centre.ceil() - 1) - low + 1).clamp(min=0)
    right = (high - torch.maximum(low, centre.floor() + 1) + 1).clamp(min=0)
    return torch.where(count > 0, low, 1), count, left, right


def round_delays(delay: Tensor) -> Tensor:
    """Return the nearest whole number of steps, half to even, at least 0, as deployed."""
    return delay.round().clamp(min=0)


def round_while_training(delay: Tensor, stochastic: bool = False) -> Tensor:
    """Return the rounded delay with the gradient of the unrounded one; stochastic: up with probability d - floor(d)."""
    given = delay.detach()
    if not stochastic:
        return delay + (round_delays(given) - given)
    floor = given.floor()
    up = torch.rand_like(floor) < given - floor
    return delay + ((floor + up.to(floor.dtype)).clamp(min=0) - given)


@dataclass(frozen=True)
class DelayInit:
    """Initial delays, in steps.

    kind: "half-normal", |N(0, std^2)| (SSC, PS-MNIST 2025); "uniform", U[low, high] (SHD: [10, 30]); "constant", low.
    """

    kind: Literal["half-normal", "uniform", "constant"] = "half-normal"
    std: float = 12.0
    low: float = 0.0
    high: float = 20.0

    def __post_init__(self) -> None:
        choose("delay init", self.kind, "half-normal", "uniform", "constant")
        number("delay init std", self.std, at_least=0)
        number("delay init low", self.low, at_least=0)
        number("delay init high", self.high, **({"at_least": self.low} if self.kind == "uniform" else {}))

    @torch.no_grad()
    def fill_(self, delay: Tensor) -> Tensor:
        """Fill `delay` in place from torch's global generator and return it."""
        if self.kind == "half-normal":
            return delay.normal_(0.0, self.std).abs_()
        return delay.uniform_(self.low, self.high) if self.kind == "uniform" else delay.fill_(self.low)


def window_taps(weight: Tensor, position: Tensor, window: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the two taps of each connection of DCLS, version v1 with one element, and their positions.

        pos = position + window//2;  tri[k] = max(0, 1 - |k - pos|);  kernel[k] = weight tri[k] / (sum_k tri[k] + 1e-7)

    weight: (N_out, N_in). position: (N_out|1, N_in|1), relative to the window's centre. window: K >= 2 steps. Returns
    kernel (N_out, N_in, 2) in `dtype`, the later step first, and place (N_out, N_in), int32: the taps lie `place` and
    `place + 1` steps before the last step of the window.
    """
    at = position.to(torch.promote_types(position.dtype, dtype)) + window // 2
    first = at.detach().floor().nan_to_num(0).clamp(0, window - 2)  # a NaN would be read outside the window
    taps = torch.stack([first, first + 1], -1)
    triangle = relu(1 - (taps - at.unsqueeze(-1)).abs())
    triangle = triangle / (triangle.sum(-1, keepdim=True) + EPSILON)
    factor = (weight.unsqueeze(-1) * triangle).to(dtype).flip(-1)
    return factor, (window - 2 - first).to(torch.int32).expand(weight.shape)

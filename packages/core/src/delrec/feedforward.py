"""Feedforward connections with learned delays (DCLS).

Sources: Hammouamri et al. 2024 (arXiv 2306.17670) and Khalfaoui-Hassani et al. 2023 (arXiv 2112.03740) for the
kernels; axonal and dendritic forms after arXiv 2602.09746.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from delrec.checks import FiniteWatch, Lengths, before, check_input, check_place, choose, ends_of, flag, number, whole
from delrec.delays import EPSILON, project
from delrec.engines import engine_for, map_engine
from delrec.layer import Layer, autocasts, exact_dtype, plain_arithmetic, rounded, trainable

Kernel = Literal["v1", "gauss", "max"]
DelayForm = Literal["synaptic", "axonal", "dendritic"]
Rounding = Literal["restore", "in-place", "none"]

_SMALLEST_WIDTH = {"v1": 1.0, "gauss": 0.27, "max": 1.0}  # of a kernel without spread, in steps


class DelayedOutput(NamedTuple):
    """Outputs (T', B, outputs) of `FeedforwardDelays`, and its state: the last K - 1 inputs (K - 1, B, inputs)."""

    outputs: Tensor
    state: Tensor


class FeedforwardDelays(Layer):
    """Linear map whose connections have delays: a dilated 1-d convolution with learned positions (DCLS).

        pos = P + K//2;  g[k] = shape(k - pos);  kernel[o,i,k] = sum_c w[o,i,c] g_c[o,i,k] / (sum_k g_c[o,i,k] + 1e-7)
        y[t,b,o] = bias[o] + sum_i sum_k kernel[o,i,k] xpad[t+k,b,i]

    With left padding K - 1, position P is a delay of K - 1 - K//2 - P steps. For "v1" with one element, the cpu engine
    skips taps and inputs that are 0, and with them NaN and infinity that they would multiply.

    Args:
        inputs, outputs: Sizes of the last axis.
        window: K, the length of the kernel in steps. Positions count from its middle: a state that was saved with
            another window has other delays here.
        kernel: The shape: "v1" max(0, 1-|x|); "gauss" exp(-x^2 / (2 s^2)) with s = |spread| + 0.27; "max" max(0, s-|x|)
            with s = |spread| + 1.
        kernel_count: Elements per connection.
        bias: Add a bias.
        left_padding, right_padding: Zeros around the sequence; default K - 1 and 0. The output has
            T + left + right - K + 1 steps.
        delays: "synaptic" for one position per connection, "axonal" one per sender, "dendritic" one per receiver.
        learn: Train the positions, which start as U[-K//2-1, K//2], clamped; fixed ones start as whole numbers.
        spread: Initial spread in steps, for "gauss" and "max"; a buffer that is not trained.
        rounding: "restore" rounds positions inside `deployed()` only, "in-place" keeps them, "none" never rounds.
        engine: "auto", or the name of an engine.
        batch_first: Sequences are (B, T, N) instead of (T, B, N).
        device, dtype: Of the parameters. Positions are never kept below float32.

    Attributes:
        weight: (outputs, inputs, kernel_count).
        position: P, (kernel_count, outputs|1, inputs|1); `delays()` returns the delays in use.
        spread: ().
        bias: (outputs,) or None.

    Raises ValueError for a setting out of range, naming it.
    """

    delay_parameters: ClassVar[tuple[str, ...]] = ("position",)
    _printed: ClassVar[str] = "inputs outputs window kernel kernel_count delay_kind learn engine batch_first"
    spread: Tensor

    def __init__(
        self, inputs: int, outputs: int, *, window: int, kernel: Kernel = "v1", kernel_count: int = 1,
        bias: bool = True, left_padding: int | None = None, right_padding: int = 0, delays: DelayForm = "synaptic",
        learn: bool = True, spread: float = 0.0, rounding: Rounding = "restore", engine: str = "auto",
        batch_first: bool = False, device: torch.device | str | None = None, dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        engine_for(engine, "cpu")
        check_place(device, dtype)
        self.inputs, self.outputs = whole("inputs", inputs), whole("outputs", outputs)
        self.window, self.kernel_count = whole("window", window), whole("kernel_count", kernel_count)
        self.kernel = choose("kernel", kernel, *get_args(Kernel))
        self.delay_kind = choose("delays", delays, *get_args(DelayForm))
        self.rounding = choose("rounding", rounding, *get_args(Rounding))
        self.left_padding = whole("left_padding", window - 1 if left_padding is None else left_padding, 0)
        self.right_padding = whole("right_padding", right_padding, 0)
        self.learn, self.engine, self.batch_first = flag("learn", learn), engine, flag("batch_first", batch_first)
        rows = 1 if delays == "axonal" else outputs
        columns = 1 if delays == "dendritic" else inputs
        exact = exact_dtype(dtype)
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel_count, device=device, dtype=dtype))
        position = torch.empty(kernel_count, rows, columns, device=device, dtype=exact)
        self.position = nn.Parameter(position, requires_grad=learn)
        self.register_buffer("spread", torch.tensor(number("spread", spread, at_least=0), device=device, dtype=exact))
        self.bias = nn.Parameter(torch.empty(outputs, device=device, dtype=dtype)) if flag("bias", bias) else None
        self._watch = FiniteWatch()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights (kaiming uniform, a = sqrt 5), bias and positions."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.inputs * self.kernel_count)
            nn.init.uniform_(self.bias, -bound, bound)
        nn.init.uniform_(self.position, -(self.window // 2) - 1, self.window // 2)
        self.clamp_()
        if not self.learn:
            self.round_()

    def dense_kernel(self) -> Tensor:
        """Return the kernel of the convolution, (outputs, inputs, K); at corners and tips its gradient is 0."""
        position = self.effective_position()
        taps = torch.arange(self.window, dtype=position.dtype, device=position.device)
        distance = taps - (position + self.window // 2).unsqueeze(-1)  # (count, outputs|1, inputs|1, K)
        spread = self.spread if self.kernel != "v1" else torch.zeros_like(self.spread)
        width = spread.abs() + _SMALLEST_WIDTH[self.kernel]
        shape = torch.exp(-0.5 * (distance / width) ** 2) if self.kernel == "gauss" else F.relu(width - distance.abs())
        shape = shape / (shape.sum(-1, keepdim=True) + EPSILON)
        return (self.weight.permute(2, 0, 1).unsqueeze(-1) * shape).sum(0)

    def effective_position(self) -> Tensor:
        """Return the positions in use, clamped to [-(K//2), K//2] as in the published code.

        For even K the interval ends one step after the window, where the kernel is empty (as published); positions
        beyond it are moved to the last step.
        """
        lowest, last = self._range()
        limit = self.window // 2
        used = project(self.position, limit, lowest)
        return used if limit == last or self.kernel == "gauss" else torch.where(self.position > limit, last, used)

    def delays(self) -> Tensor:
        """Return the delays in use, in steps: left padding - K//2 - P, (kernel_count, outputs|1, inputs|1)."""
        position = self.position.detach().clamp(*self._range())
        return self.left_padding - self.window // 2 - position

    def forward(
        self, inputs: Tensor, state: Tensor | None = None, *, lengths: Lengths | None = None, return_state: bool = False
    ) -> Tensor | DelayedOutput:
        """Map a sequence (T, B, inputs) to (T + left + right - K + 1, B, outputs).

        Args:
            inputs: Integers and booleans are converted to the weight's dtype. Below float32 the layer computes in
                float32; under autocast the result is in autocast's dtype, except for float64.
            state: From an earlier call with `return_state=True`; None means that all earlier inputs were zero.
            lengths: (B,), number of steps in each sample. Later inputs are ignored, and later outputs are 0.
            return_state: Also return the state.

        Returns:
            The outputs, or (outputs, state). Passing the state from call to call gives the same result as one call.

        Raises:
            ValueError: If a shape or state does not match, a sequence is shorter than the kernel, lengths exceed the
                sequence, or a state is used with padding other than (K - 1, 0).
            NotFiniteError: If the positions hold NaN or infinity (on a GPU possibly on a later call).
        """
        check_input("inputs", inputs, "B, T" if self.batch_first else "T, B", self.inputs)
        if (state is not None or return_state) and (self.left_padding, self.right_padding) != (self.window - 1, 0):
            padding = f"left_padding = {self.left_padding}, right_padding = {self.right_padding}"
            raise ValueError(f"{padding}: a state needs window - 1 = {self.window - 1} and 0, else future inputs")
        self._watch.check(self.position, "position holds NaN or infinity: lower its learning rate")
        dtype = inputs.dtype if inputs.is_floating_point() else self.weight.dtype
        device = inputs.device.type
        autocast = autocasts(device) and dtype != torch.float64  # which torch's autocast leaves alone
        result = torch.get_autocast_dtype(device) if autocast else dtype
        with plain_arithmetic(device):
            x = (inputs.transpose(0, 1) if self.batch_first else inputs).to(exact_dtype(dtype))
            own = None if lengths is None else ends_of(lengths, x)
            if own is not None:
                x = torch.where(before(own, x.shape[0]), x, 0)
            past = x.new_zeros(self.left_padding, *x.shape[1:]) if state is None else self._checked_state(state, x)
            out = self._convolve(x, past if state is not None else None)
            if own is not None:
                out = torch.where(before(own + out.shape[0] - x.shape[0], out.shape[0]), out, 0)
        out = (out.transpose(0, 1) if self.batch_first else out).to(result)
        if not return_state:
            return out
        heard = torch.cat([past, x])
        if own is None:
            return DelayedOutput(out, heard[len(x) :].clone())
        place = own + torch.arange(self.window - 1, device=x.device).unsqueeze(-1)
        return DelayedOutput(out, heard.gather(0, place.unsqueeze(-1).expand(-1, -1, self.inputs)))

    def step(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run one time step: inputs (B, inputs), state from the last step (None is silence) -> outputs, next state."""
        check_input("inputs", inputs, "B", self.inputs)
        time = 1 if self.batch_first else 0
        out = self(inputs.unsqueeze(time), state, return_state=True)
        return out.outputs.squeeze(time), out.state

    def _convolve(self, x: Tensor, past: Tensor | None) -> Tensor:
        """Return the output for x (T, B, inputs) after the inputs `past` (None: silence), in x's dtype."""
        left = self.left_padding if past is None else 0
        x = x if past is None else torch.cat([past, x])
        steps = x.shape[0] + left + self.right_padding - self.window + 1
        if steps < 1 and x.shape[0] and past is None:
            raise ValueError(f"{x.shape[0]} steps and their padding are shorter than the window {self.window}")
        if steps < 1 or x.shape[1] == 0:
            return x.new_zeros(max(steps, 0), x.shape[1], self.outputs) + x.sum()  # empty, but part of the graph
        bias, engine = None if self.bias is None else self.bias.to(x.dtype), map_engine(self.engine, x)
        if self.kernel == "v1" and self.kernel_count == 1:
            parts = (self.weight[..., 0].to(x.dtype), self.effective_position()[0].to(x.dtype), bias)
            out = engine.delayed_linear(x, *parts, self.window, left, self.right_padding)
            if out is not None:
                return out
        padded, kernel = F.pad(x, (0, 0, 0, 0, left, self.right_padding)), self.dense_kernel().to(x.dtype)
        out = engine.convolution(padded, kernel, bias)
        return F.conv1d(padded.permute(1, 2, 0), kernel, bias).permute(2, 0, 1) if out is None else out

    def _checked_state(self, state: Tensor, x: Tensor) -> Tensor:
        if not isinstance(state, Tensor):
            raise TypeError(f"state is a {type(state).__name__}: give the `state` of a call with return_state=True")
        wanted = (self.window - 1, *x.shape[1:])
        if state.shape != wanted or state.dtype != x.dtype or state.device != x.device:
            raise ValueError(
                f"state is {tuple(state.shape)}, {state.dtype} on {state.device}, but these inputs need {wanted}, "
                f"{x.dtype} on {x.device}: continue with the same batch, or start from silence (state=None, `reset()`)"
            )
        return trainable(state)

    def _exact(self) -> list[Tensor]:
        return [self.position, self.spread]

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp positions to the window: [-(K//2), K - 1 - K//2]."""
        self.position.clamp_(*self._range())

    def _range(self) -> tuple[int, int]:
        return -(self.window // 2), self.window - 1 - self.window // 2

    @torch.no_grad()
    def round_(self) -> None:
        """Round positions to whole steps, in place."""
        self.position.round_()
        self.clamp_()

    @contextmanager
    def _deploy(self) -> Iterator[None]:
        kernel, self.kernel = self.kernel, "v1"  # a gauss of spread 0 still has width 0.27
        try:
            with rounded(self, "position", "spread"):
                yield
        finally:
            self.kernel = kernel

"""The base class of neuron models, and the leaky integrate-and-fire neuron.

A neuron model consists of parameters and a single function that advances it by one time step:

    S[t], state[t] = step(I[t], state[t-1], coefficients)

The state is the value after the reset, as in other SNN libraries. The reference engine calls the step and leaves the
gradient to autograd; a compiled engine has torch trace it once (`delrec.tracing`), together with its backward pass.
"""

from __future__ import annotations

import copy
import itertools
import math
import uuid
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from delrec.checks import choose, flag, number
from delrec.layer import keeping_exact
from delrec.rules import RuleError, Rules
from delrec.surrogates import Surrogate, Triangle
from delrec.tracing import trace

States = tuple[Tensor, ...]
Coefficient = Tensor | float
"""Either one value for the whole layer, shape (), or one per neuron, shape (N,)."""

_numbers = itertools.count()
_PROCESS = uuid.uuid4().hex  # of a handle: an exported graph may come from another process
ATTACHED: weakref.WeakValueDictionary[str, Neuron] = weakref.WeakValueDictionary()


def neuron_of(handle: str) -> Neuron:
    """Return the neuron with this handle, which is valid until an attribute of the neuron is assigned.

    A compiled graph cannot store a module, and torch 2.5 would turn a changing int into a symbolic value.
    """
    neuron = ATTACHED.get(handle)
    if neuron is None:
        raise RuntimeError(
            "a neuron was deleted, or one of its settings changed, since this forward pass ran or this graph was "
            "compiled, or the graph is of another process: call backward() before such a change, or compile again"
        )
    return neuron


class Neuron(nn.Module):
    """Base class of all neuron models; N is the number of neurons of a layer, B the batch.

    A subclass lists its state variables in `states` and implements

        step(current, state, coefficients) -> (spike, state)

    current and spike are (B, N), state is a tuple of tensors (B, N), coefficients are what `coefficients()` returns.
    The step is elementwise, in plain torch, and changes no tensor in place. `self.spike(u)` returns 1 where u >= 0 and
    uses the surrogate's gradient in the backward pass. Use `self.resetting(spike)` in the reset; it is detached from
    the graph if `detach_reset` is set.

    Create parameters in `make_parameters`. Compiled engines trace `step` once, so any value it reads from `self` is
    frozen until you assign an attribute of the neuron. Not compiled is a step that does something else in evaluation
    than in training, reads the value of a tensor, draws random numbers, assigns an attribute, changes a list or
    dictionary of the neuron or any other thing that it reads, or may return spikes other than 0 and 1. Assigning an
    attribute listed in `fixed` raises AttributeError.

    Compiled engines pass a gradient to every state, 0 where it has none. Where a slope is infinite, as that of sqrt at
    0, this gives NaN, as 0 * infinity does in torch: clamp the argument.
    """

    states: ClassVar[tuple[str, ...]]
    strict: ClassVar[bool] = False  # True: fires where u > 0, False: where u >= 0
    fixed: ClassVar[tuple[str, ...]] = ()
    traced: dict[torch.dtype, Rules | RuleError]
    handle: str

    def __init__(self, surrogate: Surrogate | None = None, detach_reset: bool = False) -> None:
        super().__init__()
        self.surrogate = surrogate if surrogate is not None else Triangle(1.0)
        self.detach_reset = flag("detach_reset", detach_reset)
        self.size: int | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.fixed and name in self.__dict__:
            kind = type(self).__name__
            raise AttributeError(f"{name} of {kind} is fixed once made: make another {kind}({name}={value!r}, ...)")
        if name == "surrogate" and not isinstance(value, Surrogate):
            raise TypeError(f"surrogate = {value!r}: give a Surrogate, such as ATan(), or make_surrogate('atan')")
        super().__setattr__(name, value)
        if name not in ("training", "__dict__"):  # torch 2.5 gives its proxy of a neuron the same __dict__
            self._enlist()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"traced": {}, "handle": ""}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._enlist()  # a copy is another neuron

    def __deepcopy__(self, memo: dict[int, Any]) -> Neuron:
        twin = memo[id(self)] = type(self).__new__(type(self))  # that of torch's parametrizations keeps the handle
        twin.__setstate__(copy.deepcopy(Neuron.__getstate__(self), memo))
        return twin

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        return super()._apply(keeping_exact(fn, [*self.parameters(), *self.buffers()]), recurse)

    def _enlist(self) -> None:
        """Take a new handle and forget what was traced."""
        handle, old = f"{_PROCESS}-{next(_numbers)}", self.__dict__.get("handle", "")
        if ATTACHED.get(old) is self:  # not of a shallow copy, such as DataParallel makes
            del ATTACHED[old]
        ATTACHED[handle] = self
        self.__dict__.update(handle=handle, traced={})  # by dtype: what `rules` found

    def attach(self, size: int) -> Neuron:
        """Make the parameters for a layer of `size` neurons, try one step, and return self.

        Raises ValueError if the neuron has parameters and already belongs to a layer, NotImplementedError if it has no
        `step`, and TypeError or ValueError if `step` returns the wrong type or shape.
        """
        if self.size is not None and any(True for _ in self.parameters()):
            raise ValueError("this neuron has parameters and already belongs to a layer: make one neuron per layer")
        self.size = size
        self.make_parameters(size)
        self._try_step(size)
        return self

    @torch.no_grad()
    def _try_step(self, size: int) -> None:
        kind = type(self).__name__
        if not hasattr(self, "states"):
            raise NotImplementedError(f'{kind} must list its state variables, as in states = ("membrane",)')
        count = len(self.states)
        for name, values in (("coefficients", self.coefficients()), ("initial", self.initial())):
            if not isinstance(values, tuple | list):
                raise TypeError(f"{name}() of {kind} returns {_shown(values)}: give a tuple")
            for shape in (tuple(v.shape) for v in values if isinstance(v, Tensor)):
                if shape not in ((), (1,), (size,)):
                    raise ValueError(f"{name}() of {kind} returns {shape}: each is a number, () or (N,)")
        current = torch.zeros(2, size, device=next((p.device for p in self.parameters()), None))
        start = self.start_states(current)
        if not isinstance(start, tuple | list) or len(start) != count:
            raise ValueError(f"initial() of {kind} gives {_shown(start)}: give one value for each of {self.states}")
        out = self.step(current, start, self.coefficients_like(current))
        if not (isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], tuple)):
            raise TypeError(f"step of {kind} returns {_shown(out)}: give (spike, ({', '.join(self.states)},))")
        if len(out[1]) != count:
            raise ValueError(f"step of {kind} returns {len(out[1])} states of {count}: {', '.join(self.states)}")
        for name, value in zip(("the spike", *self.states), (out[0], *out[1]), strict=True):
            if not isinstance(value, Tensor) or value.shape != current.shape:
                raise ValueError(f"step of {kind} returns {name} as {_shown(value)}: each is a tensor (B, N)")
            if not value.is_floating_point():
                raise ValueError(f"step of {kind} returns {name} as {value.dtype}: give floating-point numbers")

    def step(self, current: Tensor, state: States, coefficients: States) -> tuple[Tensor, States]:
        """Advance one time step: from current and previous state, return the spikes and the state after the reset."""
        raise NotImplementedError(f"{type(self).__name__} must define step(current, state, coefficients)")

    def spike(self, u: Tensor) -> Tensor:
        """Return 1 where u, the distance to threshold, is at least 0 (above 0 if `strict`), else 0."""
        return self.surrogate.spike(u, self.strict)

    def resetting(self, spike: Tensor) -> Tensor:
        """Return the spike to use in the reset, detached if `detach_reset` is set."""
        return spike.detach() if self.detach_reset else spike

    def make_parameters(self, size: int) -> None:
        """Create the per-neuron parameters; the default has none."""

    def coefficients(self) -> tuple[Coefficient, ...]:
        """Return the coefficients of the step, each () or (N,), differentiable in the parameters; by default none."""
        return ()

    def coefficients_like(self, like: Tensor) -> States:
        """Return the coefficients as tensors, () or (N,), in the dtype of `like` and on its device."""
        found = tuple([c.to(like) if isinstance(c, Tensor) else like.new_full((), c) for c in self.coefficients()])
        for value in found:
            if value.dim() > 1:
                shape = tuple(value.shape)
                raise ValueError(f"coefficients() of {type(self).__name__} holds one of shape {shape}: give () or (N,)")
        return found

    def table(self, like: Tensor) -> Tensor:
        """Return the coefficients for compiled engines: (C, N), or (C, 1) if all are shared by the layer."""
        values = self.coefficients()
        if not values:
            return like.new_zeros(0, 1)
        if like.is_cpu and {float, int}.issuperset(map(type, values)):
            return torch.tensor(values, dtype=like.dtype).view(-1, 1)
        # created on the device: a copy from the host would wait for it
        return torch.stack(torch.broadcast_tensors(*self.coefficients_like(like))).view(len(values), -1)

    def initial(self) -> tuple[Coefficient, ...]:
        """Return the value that each state starts from, () or (N,), by default 0."""
        return (0.0,) * len(self.states)

    def start_states(self, like: Tensor) -> States:
        """Return each state before the first step in the shape of `like`, (B, N): `initial()`, unless overridden."""
        found: States = ()
        for start in self.initial():  # no comprehension: that is a call on the way of every forward pass
            value = start.to(like) if isinstance(start, Tensor) else like.new_full((), start)
            if value.dim() > 1:
                shape = tuple(value.shape)
                raise ValueError(f"initial() of {type(self).__name__} holds one of shape {shape}: give () or (N,)")
            found = (*found, value.expand_as(like))
        return found

    def membrane(self, state: States, coefficients: States) -> Tensor:
        """Return the membrane potential after the reset; by default the first state variable."""
        return state[0]

    def rules(self, dtype: torch.dtype) -> Rules:
        """Return the traced step for compiled engines (cached); RuleError with the reason if it cannot be traced."""
        if dtype not in self.traced:
            try:
                self.traced[dtype] = trace(self, dtype)
            except RuleError as error:
                self.traced[dtype] = error
        found = self.traced[dtype]
        if isinstance(found, RuleError):
            raise found
        return found

    def extra_repr(self) -> str:
        """Return the settings, for `print`."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in (*self.fixed, "surrogate", "detach_reset"))

    def clamp_(self) -> None:
        """Clamp parameters to their range, after an optimiser step; the default does nothing."""


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    return f"({', '.join(map(_shown, value))})" if isinstance(value, tuple) else f"a {type(value).__name__}"


class LIF(Neuron):
    """Leaky integrate-and-fire neuron with stateless synapses (`decay_input=False`).

        H[t] = (1 - 1/tau) V[t-1] + I[t]                     soft reset, or v_reset == 0
        H[t] = V[t-1] - (V[t-1] - v_reset)/tau + I[t]        hard reset
        S[t] = 1[H[t] >= threshold]
        V[t] = H[t] - threshold S[t]  (soft)   |   S[t] v_reset + (1 - S[t]) H[t]  (hard)
        V[-1] = 0 (soft) or v_reset (hard)

    tau is in time steps (>= 1). `learn_tau="neuron"` learns one time constant per neuron as tau = 1 + exp(w), "shared"
    one per layer. Source: DelRec, arXiv 2509.24852, eq. 1; learned tau after PLIF (Fang et al. 2021, arXiv 2007.05785)
    with the exponential in place of its sigmoid, so that tau has no upper bound.

    Raises ValueError if tau < 1 (or = 1 when learned), if the threshold is not finite (soft: not above 0), if the reset
    is unknown, or if v_reset is set with a soft reset or is not below the threshold.
    """

    states = ("membrane",)
    fixed = ("tau", "threshold", "reset", "v_reset", "learn_tau")

    def __init__(
        self, tau: float = 2.0, threshold: float = 1.0, reset: Literal["soft", "hard"] = "soft", v_reset: float = 0.0,
        detach_reset: bool = False, surrogate: Surrogate | None = None,
        learn_tau: Literal["no", "shared", "neuron"] = "no",
    ) -> None:  # fmt: skip
        super().__init__(surrogate, detach_reset)
        self.reset = choose("reset", reset, "soft", "hard")
        bounds = {"above": 0.0} if reset == "soft" else {}
        self.tau, self.threshold = number("tau", tau, at_least=1), number("threshold", threshold, **bounds)
        self.learn_tau = choose("learn_tau", learn_tau, "no", "shared", "neuron")
        self.v_reset = number("v_reset", v_reset, below=self.threshold)
        if learn_tau != "no" and tau == 1:
            raise ValueError("tau = 1 cannot be learned: tau = 1 + exp(w) starts above 1")
        if reset == "soft" and v_reset != 0:
            raise ValueError(f"v_reset = {v_reset!r} has no meaning with reset='soft'; use reset='hard'")
        self.log_tau: nn.Parameter | None = None

    def make_parameters(self, size: int) -> None:
        """Create log_tau, (N,) or (), when the time constant is learned."""
        if self.learn_tau != "no":
            start = torch.full((size,) if self.learn_tau == "neuron" else (), math.log(self.tau - 1))
            self.log_tau = nn.Parameter(start)

    def coefficients(self) -> tuple[Coefficient, ...]:
        """Return (decay = 1 - 1/tau, threshold, v_reset)."""
        tau = self.tau if self.log_tau is None else 1 + torch.exp(self.log_tau)
        return 1 - 1 / tau, self.threshold, self.v_reset

    def initial(self) -> tuple[Coefficient, ...]:
        """Return the resting potential."""
        return (self.v_reset,)

    def step(self, current: Tensor, state: States, coefficients: States) -> tuple[Tensor, States]:
        """Leak, integrate, fire, reset: the equations of the class."""
        (v,), (decay, threshold, v_reset) = state, coefficients
        h = decay * v + current if self.reset == "soft" else v_reset + decay * (v - v_reset) + current
        spike = self.spike(h - threshold)
        fired = self.resetting(spike)
        return spike, (h - threshold * fired if self.reset == "soft" else fired * v_reset + (1 - fired) * h,)

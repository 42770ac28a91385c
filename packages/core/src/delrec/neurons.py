"""What a neuron model is, and the leaky integrate-and-fire neuron.

A neuron is its parameters and one step. The state it carries from step to step is taken BEFORE the reset, so that the
spike is a function of the state; the reset opens the next step:

    state[t] = step(S[t-1], state[t-1], current[t])      u[t] = drive(state[t])      S[t] = 1[u[t] >= 0]

`step`, `drive` and `membrane` are rules: plain functions, elementwise, of what `delrec.rules.reader` allows. The
reference engine runs them on tensors and leaves the gradient to autograd; a fused engine compiles them and their
adjoints, which are derived, into its scan.
"""

from __future__ import annotations

import inspect
import itertools
import math
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from delrec.layer import keeping_exact
from delrec.rules import on_tensors
from delrec.surrogates import Surrogate, Triangle

__all__ = ["LIF", "Neuron", "neuron_of"]

Rule = Callable[..., Any]

_numbers = itertools.count()
_neurons: weakref.WeakValueDictionary[str, Neuron] = weakref.WeakValueDictionary()


def neuron_of(handle: str) -> Neuron:
    """Return the neuron of that handle: a compiled graph can hold a word, but no neuron (nor surely an int: torch 2.5
    makes a symbol of one that changes)."""
    return _neurons[handle]


def _first_state(spike: Any, reset: Any, *values: Any) -> Any:
    return values[0]


class Neuron(nn.Module):
    """Base of every neuron model; N is the number of neurons of a layer, B the batch.

    A subclass gives `states`, `coefficients()` if its rules have any, and static methods (s: states, c: coefficients):

        step(spike, reset, *s, current, *c) -> (*s_new,)
            spike and reset are both S[t-1]; terms of the reset use `reset`, which carries no gradient when
            `detach_reset` is set.
        drive(*s, *c) -> u, the distance to threshold
        membrane(spike, reset, *s, *c) -> V, what a layer returns as the membrane potential of the step, spike and reset
            being S[t]; the first state, unless given

    Parameters are made in `make_parameters`. `fixed` names what cannot be set once the neuron is made: AttributeError.
    """

    states: ClassVar[tuple[str, ...]]
    strict: ClassVar[bool] = False  # True: fires when u > 0, False: when u >= 0
    input_gain: ClassVar[str] = "1"  # the factor that the current enters with, in the paper's symbols
    fixed: ClassVar[tuple[str, ...]] = ()

    step: Rule
    drive: Rule
    membrane: Rule = staticmethod(_first_state)

    def __init__(self, surrogate: Surrogate | None = None, detach_reset: bool = False) -> None:
        super().__init__()
        self.surrogate = surrogate if surrogate is not None else Triangle(1.0)
        self.detach_reset = bool(detach_reset)
        self.size: int | None = None
        self._on_tensors: dict[str, Rule] = {}
        self._enlist()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.fixed and name in self.__dict__:
            kind = type(self).__name__
            raise AttributeError(f"{name} of {kind} is fixed once made: make another {kind}({name}={value!r}, ...)")
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_on_tensors": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._enlist()  # a copy is another neuron
        self._read()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        return super()._apply(keeping_exact(fn, [*self.parameters(), *self.buffers()]), recurse)

    def _enlist(self) -> None:
        self.handle = str(next(_numbers))
        _neurons[self.handle] = self

    def attach(self, size: int) -> Neuron:
        """Make the parameters for a layer of `size` neurons and return self.

        Raises ValueError when the neuron has per-neuron parameters and already belongs to a layer, NotImplementedError
        when it lacks a rule, TypeError for a rule that does not take what it is given.
        """
        for name in ("step", "drive"):
            if not hasattr(self, name):
                raise NotImplementedError(f"{type(self).__name__} must define {name}(); see delrec.Neuron")
        if self.size is not None and any(True for _ in self.parameters()):
            raise ValueError("this neuron has parameters and already belongs to a layer: make one neuron a layer")
        self.size = size
        self.make_parameters(size)
        self._check_arguments()
        self._read()
        return self

    def _check_arguments(self) -> None:
        coefficients = [f"coefficient {i}" for i in range(len(self.coefficients()))]
        for name, values in (("step", ("spike", "reset", *self.states, "current")), ("drive", self.states)):
            try:
                inspect.signature(getattr(self, name)).bind(*values, *coefficients)
            except TypeError as error:
                raise TypeError(
                    f"{name} of {type(self).__name__} is given ({', '.join((*values, *coefficients))}): {error}; a "
                    "rule is a @staticmethod, or takes self first"
                ) from None

    def _read(self) -> None:
        """Read the rules now: a compiler that traces the neuron later cannot."""
        for name in ("step", "drive", "membrane"):
            self.rule(name)
        self.surrogate.slope(torch.zeros(1))

    def rule(self, name: str) -> Rule:
        """Return the rule "step", "drive" or "membrane" as a function of tensors."""
        if not torch.compiler.is_compiling():
            self._on_tensors[name] = on_tensors(getattr(self, name), name, type(self).__name__)
        return self._on_tensors[name]

    def make_parameters(self, size: int) -> None:
        """Create the per-neuron parameters; the default has none."""

    def coefficients(self) -> tuple[Tensor, ...]:
        """Return the coefficients of the rules, each () or (N,), differentiable in the parameters; by default none."""
        return ()

    def initial(self) -> tuple[Tensor, ...]:
        """Return the value that each state starts from, () or (N,), by default 0; no spike precedes the first step."""
        return (torch.zeros(()),) * len(self.states)

    def start_states(self, like: Tensor) -> tuple[Tensor, ...]:
        """Return each state before the first step in the shape of `like`, (B, N): `initial()`, unless overridden."""
        if type(self).initial is Neuron.initial:  # made where it is wanted: a copy from main memory waits for a card
            return (like.new_zeros(()).expand_as(like),) * len(self.states)
        return tuple(s.to(like).expand_as(like) for s in self.initial())

    def advance(
        self, spike: Tensor, states: tuple[Tensor, ...], current: Tensor, coefficients: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Take one step on tensors (B, N): from S[t-1], states and current to S[t] and the new states."""
        reset = spike.detach() if self.detach_reset else spike
        step, drive = self.rule("step"), self.rule("drive")
        states = tuple(s.expand_as(spike) for s in step(spike, reset, *states, current, *coefficients))
        return self.surrogate.spike(drive(*states, *coefficients), self.strict), states

    def clamp_(self) -> None:
        """Put parameters back in their range, after an optimiser step; the default does nothing."""


class LIF(Neuron):
    """Leaky integrate-and-fire neuron with stateless synapses (`decay_input=False`).

        H[t] = (1 - 1/tau) V[t-1] + I[t]                     soft reset, or v_reset == 0
        H[t] = V[t-1] - (V[t-1] - v_reset)/tau + I[t]        hard reset
        S[t] = 1[H[t] >= threshold]
        V[t] = H[t] - threshold S[t]  (soft)   |   S[t] v_reset + (1 - S[t]) H[t]  (hard)
        V[-1] = 0 (soft) or v_reset (hard)

    tau is in steps (> = 1). `learn_tau="neuron"` learns one time constant a neuron as tau = 1 + exp(w), with w
    a parameter; "shared" one a layer. Source: DelRec, arXiv 2509.24852, eq. 1; learned tau after PLIF (Fang et
    al. 2021, arXiv 2007.05785) with the exponential in place of its sigmoid, so that tau has no upper bound.

    Raises ValueError for tau < 1 (or = 1 when learned), a threshold that is not finite, an unknown reset, or a
    v_reset that is given for a soft reset or not below the threshold.
    """

    states = ("membrane",)
    fixed = ("tau", "threshold", "reset", "v_reset", "learn_tau")

    def __init__(
        self,
        tau: float = 2.0,
        threshold: float = 1.0,
        reset: Literal["soft", "hard"] = "soft",
        v_reset: float = 0.0,
        detach_reset: bool = False,
        surrogate: Surrogate | None = None,
        learn_tau: Literal["no", "shared", "neuron"] = "no",
    ) -> None:
        super().__init__(surrogate, detach_reset)
        if reset not in ("soft", "hard"):
            raise ValueError(f"reset = {reset!r}: a LIF resets 'soft' (subtract the threshold) or 'hard' (to v_reset)")
        if not (math.isfinite(tau) and tau >= 1):
            raise ValueError(f"tau = {tau!r}: the time constant is in steps and at least 1")
        if learn_tau not in ("no", "shared", "neuron"):
            raise ValueError(f"learn_tau = {learn_tau!r}: choose 'no', 'shared' or 'neuron'")
        if learn_tau != "no" and tau == 1:
            raise ValueError("tau = 1 cannot be learned: tau = 1 + exp(w) starts above 1")
        if not math.isfinite(threshold):
            raise ValueError(f"threshold = {threshold!r} is not finite")
        if not (math.isfinite(v_reset) and v_reset < threshold):
            raise ValueError(f"v_reset = {v_reset!r}: must be finite and below the threshold {threshold!r}")
        if reset == "soft" and v_reset != 0:
            raise ValueError(f"v_reset = {v_reset!r} has no meaning with reset='soft'; use reset='hard'")
        self.tau = float(tau)
        self.threshold = float(threshold)
        self.reset = reset
        self.v_reset = float(v_reset)
        self.learn_tau = learn_tau
        self.log_tau: nn.Parameter | None = None
        hard = reset == "hard"
        self.step = self.step_hard if hard else self.step_soft
        self.membrane = self.membrane_hard if hard else self.membrane_soft
        for name, value in (("_tau", tau), ("_threshold", threshold), ("_rest", v_reset if hard else 0.0)):
            self.register_buffer(name, torch.tensor(float(value), dtype=torch.float64), persistent=False)

    def make_parameters(self, size: int) -> None:
        """Create log_tau, (N,) or (), when the time constant is learned."""
        if self.learn_tau != "no":
            start = torch.full((size,) if self.learn_tau == "neuron" else (), math.log(self.tau - 1))
            self.log_tau = nn.Parameter(start)

    def coefficients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return (decay = 1 - 1/tau, threshold, rest)."""
        tau = self._tau if self.log_tau is None else 1 + torch.exp(self.log_tau)
        return 1 - 1 / tau, self._threshold, self._rest  # type: ignore[return-value,operator]

    def initial(self) -> tuple[Tensor]:
        """Return the resting potential."""
        return (self._rest,)  # type: ignore[return-value]

    @staticmethod
    def step_soft(spike, reset, h, current, decay, threshold, rest):
        """H[t] = decay (H[t-1] - threshold S[t-1]) + I[t]."""
        return (decay * (h - threshold * reset) + current,)

    @staticmethod
    def step_hard(spike, reset, h, current, decay, threshold, rest):
        """H[t] = rest + decay (V[t-1] - rest) + I[t], with V - rest = (1 - S) (H - rest)."""
        return (rest + decay * ((1.0 - reset) * (h - rest)) + current,)

    @staticmethod
    def drive(h, decay, threshold, rest):
        """u = H - threshold."""
        return h - threshold

    @staticmethod
    def membrane_soft(spike, reset, h, decay, threshold, rest):
        """V[t] = H[t] - threshold S[t]."""
        return h - threshold * reset

    @staticmethod
    def membrane_hard(spike, reset, h, decay, threshold, rest):
        """V[t] = S[t] v_reset + (1 - S[t]) H[t]."""
        return reset * rest + (1.0 - reset) * h

    def extra_repr(self) -> str:
        """Name what was set."""
        return (
            f"tau={self.tau:g}, threshold={self.threshold:g}, reset={self.reset!r}, v_reset={self.v_reset:g}, "
            f"detach_reset={self.detach_reset}, surrogate={self.surrogate!r}, learn_tau={self.learn_tau!r}"
        )

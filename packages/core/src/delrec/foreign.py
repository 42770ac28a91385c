"""Neurons of other libraries, and any function (current, state) -> (spike, state), as neurons of a layer.

The layer keeps their state in `State.states`, with nested containers flattened, and leaves the neuron itself unchanged.
They run on the reference engine. A neuron is recognised by the package of its class, without importing that package.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from delrec.neurons import LIF, Neuron, States
from delrec.rules import RuleError, Rules
from delrec.surrogates import Triangle

_RECURRENT = "has recurrent connections, which would be added to the layer's"


def as_neuron(neuron: Any) -> Neuron:
    """Return a `Neuron` unchanged, LIF() for None, and any other callable as a `ForeignNeuron`.

    Raises ValueError for a neuron with its own recurrent connections or with many steps per call; TypeError for an
    object that cannot be called.
    """
    if neuron is None:
        return LIF()
    if isinstance(neuron, Neuron):
        return neuron
    if isinstance(neuron, type) or not callable(neuron):
        raise TypeError(f"neuron = {neuron!r}: give a neuron, or a callable (current, state) -> (spike, state)")
    packages = {c.__module__.split(".")[0] for c in type(neuron).__mro__}
    if "snntorch" in packages:
        return SnntorchNeuron(neuron)
    if "spikingjelly" in packages:
        return SpikingjellyNeuron(neuron)
    try:
        inspect.signature(getattr(neuron, "forward", neuron)).bind(None, None)
    except (TypeError, ValueError) as error:
        raise TypeError(f"neuron = {neuron!r}: give a callable (current, state) -> (spike, state); {error}") from error
    return ForeignNeuron(neuron)


class ForeignNeuron(Neuron):
    """A callable (current, state) -> (spike, state) as a neuron; currents and spikes are (B, N).

    The state is a floating-point tensor, or such tensors in nested tuples, lists and dicts (norse's are named tuples),
    each of a shape that broadcasts to (B, N). The initial state is `cell.initial_state(current)` if there is such a
    method; otherwise the first call gets state None and creates it. Parameters of a module are trained, in the group
    "neuron". The membrane is the first tensor that a named tuple or dict calls v or mem; without such a name it is the
    first of all. Not for several threads at once. Raises ValueError for a cell with recurrent connections.
    """

    states = ()  # unknown before the first step
    _names: Sequence[str] = ()

    def __init__(self, cell: Any) -> None:
        super().__init__(Triangle(), False)
        self.cell = cell
        self._structure: Any = None
        if any("Recurrent" in c.__name__ for c in type(cell).__mro__) or hasattr(cell, "recurrent_weights"):
            raise _refused(cell, _RECURRENT, "LIFCell")

    def start_states(self, like: Tensor) -> States:
        """Return the initial state, each (B, N), or () if the cell creates it in its first step."""
        make = getattr(self.cell, "initial_state", None)
        if make is None:
            return ()
        # norse's are leaves that require a gradient, which is of no use
        kept = pytree.tree_map_only(Tensor, lambda s: s.detach() if s.is_leaf and type(s) is Tensor else s, make(like))
        return tuple(self._flat(kept, like))

    def step(self, current: Tensor, state: States, coefficients: States) -> tuple[Tensor, States]:
        """Take one step of the cell."""
        if state and self._structure is None:  # the state comes from another process: a step shows its structure
            with torch.no_grad():
                self._flat(self.cell(torch.zeros_like(current), None)[1], current)
        # copies, in case the cell works in place
        own = [s.clone() for s in state]
        out = self.cell(current.clone(), pytree.tree_unflatten(own, self._structure) if state else None)
        if not (isinstance(out, tuple) and len(out) == 2 and isinstance(out[0], Tensor)):
            raise TypeError(f"{self._name()} returned a {type(out).__name__}: a step returns (spike, state)")
        spike, after = out
        if spike.shape != current.shape:
            raise ValueError(f"{self._name()} returned spikes {tuple(spike.shape)} for currents {tuple(current.shape)}")
        found = self._flat(after, current)
        if state and len(found) != len(state):
            counts = f"{len(state)} tensors, and then of {len(found)}"
            raise ValueError(f"the state of {self._name()} is of {counts}: let each step return as many")
        return spike.to(current.dtype), found

    def membrane(self, state: States, coefficients: States) -> Tensor:
        """Return the state that is the membrane, as the cell returns it."""
        if not state:
            raise ValueError(f"{self._name()} has no state: ask for no membrane, and give no lengths")
        found = [place for place, name in enumerate(self._names) if name in ("v", "mem")]
        return state[found[0] if found else 0]

    def attach(self, size: int) -> Neuron:
        """Return self; the cell needs nothing from a layer."""
        self.size = size
        return self

    def rules(self, dtype: torch.dtype) -> Rules:
        """Raise RuleError: foreign neurons are not compiled."""
        raise RuleError("it is not a delrec.Neuron")

    def _flat(self, state: Any, like: Tensor) -> States:
        leaves, structure = pytree.tree_flatten(state)
        if structure != self._structure:
            self.__dict__.update(_structure=structure, _names=_names_of(state))  # no settings
        for leaf in leaves:
            if not (isinstance(leaf, Tensor) and leaf.is_floating_point() and _broadcasts(leaf.shape, like.shape)):
                told = f"{leaf.dtype} {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else type(leaf).__name__
                raise ValueError(f"the state of {self._name()} holds {told}; give floats (B, N) = {tuple(like.shape)}")
        return tuple(leaf.to(like).expand_as(like) for leaf in leaves)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_structure": None}

    def _name(self) -> str:
        return getattr(self.cell, "__name__", type(self.cell).__name__)


class SnntorchNeuron(ForeignNeuron):
    """A single-step neuron of snntorch (Leaky, Synaptic, Alpha, ...); its states are the arguments after the input."""

    def __init__(self, cell: Any) -> None:
        super().__init__(cell)
        self._names = list(inspect.signature(cell.forward).parameters)[1:]
        if "spk" in self._names or hasattr(cell, "all_to_all"):
            raise _refused(cell, _RECURRENT, "Leaky, Synaptic")
        if not self._names or any(n not in cell._buffers for n in self._names):
            raise _refused(cell, "does not take its states as arguments", "Leaky, Synaptic or Alpha")
        if getattr(cell, "init_hidden", False):
            raise _refused(cell, "keeps its own state (init_hidden=True)", "init_hidden=False")

    def start_states(self, like: Tensor) -> States:
        """Return zeros, as snntorch starts."""
        return tuple(torch.zeros_like(like) for _ in self._names)

    def step(self, current: Tensor, state: States, coefficients: States) -> tuple[Tensor, States]:
        """Take one step and restore the neuron's buffers."""
        held = dict(self.cell._buffers)
        try:
            spike, *after = self.cell(current, *state)
        finally:
            self.cell._buffers.update(held)
        return spike.to(current.dtype), tuple(after)  # its surrogates make float32 of any


class SpikingjellyNeuron(ForeignNeuron):
    """A single-step neuron of spikingjelly (LIFNode, IFNode, ...); its memories are the states."""

    def __init__(self, cell: Any) -> None:
        super().__init__(cell)
        rest = getattr(cell, "_memories_rv", None)
        if not rest or not all(isinstance(v, int | float | Tensor) for v in rest.values()):
            raise _refused(cell, "has no memories of numbers to carry", "LIFNode, IFNode")
        if getattr(cell, "step_mode", "s") != "s":
            raise _refused(cell, f"runs in step_mode={cell.step_mode!r}", "step_mode='s'")
        self._names = list(rest)

    def start_states(self, like: Tensor) -> States:
        """Return the memories after a reset."""
        rest = [self.cell._memories_rv[n] for n in self._names]
        return tuple((r.to(like) if isinstance(r, Tensor) else like.new_full((), r)).expand_as(like) for r in rest)

    def step(self, current: Tensor, state: States, coefficients: States) -> tuple[Tensor, States]:
        """Take one step with the given memories and restore the neuron's own."""
        memories = self.cell._memories
        held = dict(memories)
        try:
            memories.update(zip(self._names, state, strict=True))
            spike = self.cell(current)
            after = tuple(memories[n] for n in self._names)
        finally:
            memories.update(held)
        return spike.to(current.dtype), tuple(torch.as_tensor(s).to(current).expand_as(current) for s in after)


def _names_of(state: Any) -> list[Any]:
    """Return the innermost name or key of each tensor of a state; none where its containers do not tell."""
    try:
        paths = [path for path, _ in pytree.tree_flatten_with_path(state)[0]]
    except ValueError:  # a container that was registered without its keys
        return []
    return [getattr(path[-1], "name", getattr(path[-1], "key", None)) if path else None for path in paths]


def _broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False))


def _refused(cell: Any, why: str, remedy: str) -> ValueError:
    return ValueError(f"neuron = {type(cell).__name__}: it {why}; use a single-step neuron such as {remedy}")

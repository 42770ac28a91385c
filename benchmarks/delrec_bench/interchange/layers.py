"""The layers of a network by DelRec's code of 2025, from the names and shapes of its state."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from delrec_bench.errors import BenchError

_CONNECTION = ({"weight"}, {"weight", "bias"}, {"weight", "P"}, {"weight", "P", "bias"})
_NORM = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
_RECURRENT = {"recurrent_weights", "recurrent_delays", "p_spread"}

Group = dict[str, Tensor]


@dataclass
class Layer:
    """One connection, and what stands between it and the next."""

    number: int
    connection: Group
    norm: Group | None = None
    recurrent: Group = field(default_factory=dict)

    @property
    def delayed(self) -> bool:
        """Whether the connection has feedforward delays."""
        return "P" in self.connection

    @property
    def outputs(self) -> int:
        """Neurons of the layer."""
        return self.connection["weight"].shape[0]

    @property
    def inputs(self) -> int:
        """What it hears."""
        return self.connection["weight"].shape[1]


def layers_of(state: Mapping[str, Tensor], path: Path) -> list[Layer]:
    """The connections in their order, each with what follows it.

    Raises:
        BenchError: A name that code does not write, a shape that does not fit its neighbours, an end that is missing.
    """
    groups: dict[int, Group] = {}
    for name, tensor in state.items():
        match = re.fullmatch(r"layers\.(\d{1,4})\.(\w+)", name)
        if match is None or match[2] not in _NORM | _RECURRENT | {"P"}:
            raise BenchError(f"{path}: '{name[:100]}' is no parameter of DelRec's code of 2025; another code made it")
        groups.setdefault(int(match[1]), {})[match[2]] = tensor
    layers: list[Layer] = []
    for number in sorted(groups):
        group, names = groups[number], set(groups[number])
        where = f"{path}: layers.{number}"
        last = layers[-1] if layers else None
        if names in _CONNECTION and group["weight"].dim() == (3 if "P" in names else 2):
            _check_connection(group, where, last)
            layers.append(Layer(number, group))
        elif names == _NORM and last is not None and last.norm is None and not last.recurrent:
            _check_shapes(group, dict.fromkeys(_NORM - {"num_batches_tracked"}, (last.outputs,)), where)
            last.norm = group
        elif {"recurrent_weights"} <= names <= _RECURRENT and last is not None and not last.recurrent:
            _check_recurrent(group, last.outputs, where)
            last.recurrent = group
        else:
            shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in group.items())
            after = f"after layers.{last.number}" if last is not None else "at the beginning"
            raise BenchError(f"{where} ({shapes}) is no layer of that code {after}; the file is incomplete or altered")
    if len(layers) < 2:
        raise BenchError(f"{path} holds {len(layers)} connections; a network has a hidden layer and a readout")
    if layers[-1].norm is not None or layers[-1].recurrent:
        raise BenchError(f"{path} ends with a hidden layer (layers.{layers[-1].number}); its readout is missing")
    return layers


def _check_connection(group: Group, where: str, last: Layer | None) -> None:
    shape = tuple(group["weight"].shape)
    if min(shape) < 1:
        raise BenchError(f"{where}.weight is {shape}; a layer has at least one input and one output")
    if last is not None and shape[1] != last.outputs:
        raise BenchError(f"{where}.weight takes {shape[1]} inputs, but the layer before it has {last.outputs} neurons")
    wanted = {"weight": shape, "bias": shape[:1], "P": (1, *shape)}
    _check_shapes(group, {name: wanted[name] for name in wanted if name in group}, where)


def _check_recurrent(group: Group, size: int, where: str) -> None:
    delays = {1: (size,), 2: (size, size)}.get(group.get("recurrent_delays", torch.zeros(1)).dim(), (size,))
    if group.get("recurrent_delays", torch.zeros(0)).shape == (1,):
        delays = (1,)
    wanted: dict[str, tuple[int, ...]] = {"recurrent_weights": (size, size), "recurrent_delays": delays}
    spread = group.get("p_spread")
    if spread is not None and spread.shape == (size, size) and bool((spread == spread[0]).all()):
        group["p_spread"] = spread[0].clone()  # the same at every receiver: one a sender
    wanted["p_spread"] = (size,)
    _check_shapes(group, {name: shape for name, shape in wanted.items() if name in group}, where)


def _check_shapes(group: Group, wanted: Mapping[str, tuple[int, ...]], where: str) -> None:
    for name, shape in sorted(wanted.items()):
        if tuple(group[name].shape) != shape or not group[name].is_floating_point():
            there = tuple(group[name].shape)
            raise BenchError(f"{where}.{name} is {there} of {group[name].dtype}, but the layer needs {shape} numbers")

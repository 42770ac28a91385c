"""A checkpoint of DelRec's code of 2025, read as the network that it is.

A file is {`net`: state_dict, `acc`, `epoch`}, its names `layers.<number>.<parameter>`: connections (`weight`, `bias`,
of feedforward delays also `P`), batch norm, recurrent connections (`recurrent_weights`, `recurrent_delays`,
`p_spread`). It does not hold time constants, thresholds, the window or sigma: those are the published setting's.
"""

import re
from pathlib import Path
from typing import Any

import torch
from delrec.feedforward import FeedforwardDelays
from delrec.recurrent import RecurrentDelays
from torch import Tensor

from delrec_bench.config import preset
from delrec_bench.errors import BenchError, nearest
from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.tasks.task import find_tasks
from delrec_bench.training.tensor_files import checked_tensors, load_checkpoint

SETTINGS = ("shd", "ssc", "ps-mnist", "shd-equi-parameter")
"""What a file may be of: the presets of these say what it does not."""

SIGMA = 0.06
"""10 * 0.95^(100 e / E) in the last epoch: what that code evaluates with; plain recurrence: 0."""

_NAMES = {"P": "position", "recurrent_weights": "weight", "recurrent_delays": "delay", "p_spread": "spread"}
_SET = (".sigma", ".connection.spread", "readout.spread")  # buffers that the configuration sets


def read_published(path: Path, setting: str, sigma: float = SIGMA) -> Network:
    """Load a checkpoint of DelRec's 2025 code as a network in evaluation mode with rounded delays, as that code does.

    A `BenchError` says why a file is no such checkpoint.

    Args:
        path: The file; only tensors and numbers are read.
        setting: One of `SETTINGS`.
        sigma: Spread in steps; `delrec.deployed(network)` sets it to 0, as the suite does for evaluation.
    """
    if setting not in SETTINGS:
        raise BenchError(f"unknown setting '{setting}'; {nearest(setting, SETTINGS)}")
    content = load_checkpoint(path)
    if "net" not in content:
        raise BenchError(f"{path} has no 'net', unlike checkpoints of DelRec's 2025 code")
    state = checked_tensors(content["net"], str(path))
    try:
        tensors, depth = _named(state)
        config = _config(tensors, depth, setting, sigma)
        if not config.learn_spread:  # without delays that code leaves it untrained
            tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(".spread")}
        with torch.random.fork_rng(devices=[]):
            network = Network(config).to(next(iter(state.values())).dtype)
        missing, unexpected = network.load_state_dict(tensors, strict=False)
        if lacking := [name for name in missing if not name.endswith(_SET)] + unexpected:
            raise ValueError(f"{lacking[0]} is missing or unexpected")
    except (ValueError, RuntimeError, KeyError, IndexError) as error:
        text = " ".join(str(error).split())[:300]
        raise BenchError(f"{path} is not a network of DelRec's 2025 code ({text})") from error
    for module in network.modules():
        if isinstance(module, RecurrentDelays | FeedforwardDelays):
            module.round_()
    return network.eval()


def _named(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """The tensors by the names that `Network` has for them, and the number of hidden layers."""
    groups: dict[int, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        match = re.fullmatch(r"layers\.(\d{1,4})\.(\w+)", name)
        if match is None:
            raise ValueError(f"'{name[:100]}' is not one of its parameters")
        groups.setdefault(int(match[1]), {})[match[2]] = tensor
    between = {number for number, group in groups.items() if {"running_mean", "recurrent_weights"} & set(group)}
    readout, layer = max(set(groups) - between), -1
    tensors: dict[str, Tensor] = {}
    for number, group in sorted(groups.items()):
        if number in between:
            place = f"blocks.{layer}.{'norm' if 'running_mean' in group else 'spiking'}"
        else:
            layer += 1
            place = "readout" if number == readout else f"blocks.{layer}.connection"
        for name, tensor in group.items():
            if name == "P":  # (1, outputs, inputs, elements) -> (elements, outputs, inputs)
                tensor = tensor[0].permute(2, 0, 1)
            elif name == "p_spread" and tensor.dim() == 2:  # the same at every receiver: one per sender
                tensor = tensor[0].clone()
            tensors[f"{place}.{_NAMES.get(name, name)}"] = tensor
    return tensors, layer


def _config(tensors: dict[str, Tensor], depth: int, setting: str, sigma: float) -> NetworkConfig:
    """The setting's configuration, with what the file says in place of what the setting says."""
    task, _, equal = setting.partition("-equi")
    known = preset("equi-parameter" if equal else "paper-2025", find_tasks()[task])
    values: dict[str, Any] = {k.removeprefix("network."): v for k, v in known.items() if k.startswith("network.")}
    shapes = [tensors[f"blocks.{i}.connection.weight"].shape for i in range(depth)]
    recurrent = tuple(i for i in range(depth) if f"blocks.{i}.spiking.weight" in tensors)
    positions = [tensor for name, tensor in tensors.items() if name.endswith(".position")]
    kinds = {_kind(tensors.get(f"blocks.{i}.spiking.delay")) for i in recurrent} or {"none"}
    if len(kinds) > 1:
        raise ValueError(f"it mixes kinds of recurrent delays: {', '.join(sorted(kinds))}")
    kind = kinds.pop()
    values |= {
        "recurrent": kind,
        "inputs": shapes[0][1],
        "classes": tensors["readout.weight"].shape[0],
        "hidden": tuple(shape[0] for shape in shapes),
        "recurrent_layers": recurrent or None,
        "learn_spread": kind != "plain" and any(name.endswith("spiking.spread") for name in tensors),
        "sigma": sigma if kind != "plain" else 0.0,
        "feedforward": "v1" if positions else "none",
        "feedforward_layers": tuple(i for i in range(depth) if f"blocks.{i}.connection.position" in tensors),
        "feedforward_readout": "readout.position" in tensors,
        "kernel_count": len(positions[0]) if positions else 1,
        "batch_norm": "blocks.0.norm.weight" in tensors,
        "bias": "blocks.0.connection.bias" in tensors,
        "readout_bias": "readout.bias" in tensors,
        "weight_init": "default",
    }
    config = NetworkConfig(**values)
    if any(float(position.abs().max()) > config.window // 2 for position in positions):
        raise ValueError(f"a position lies outside the setting's window of {config.window} steps")
    return config


def _kind(delays: Tensor | None) -> str:
    if delays is None:
        return "plain"
    return "synaptic" if delays.dim() == 2 else "axonal" if delays.numel() > 1 else "shared"

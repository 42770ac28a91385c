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

_RECURRENT = {"recurrent_weights": "weight", "recurrent_delays": "delay", "p_spread": "spread"}
_SET = (".sigma", ".connection.spread", "readout.spread")  # buffers that the configuration sets

_Layer = dict[str, dict[str, Tensor]]  # a connection, and what stands between it and the next: norm, recurrent


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
        layers = _layers(state)
        config = _config(layers, setting, sigma)
        with torch.random.fork_rng(devices=[]):
            network = Network(config).to(next(iter(state.values())).dtype)
        missing, unexpected = network.load_state_dict(_named(layers, config), strict=False)
        if lacking := [name for name in missing if not name.endswith(_SET)] + unexpected:
            raise ValueError(f"{lacking[0]} is missing or unexpected")
    except (ValueError, RuntimeError, KeyError, IndexError) as error:
        text = " ".join(str(error).split())[:300]
        raise BenchError(f"{path} is not a network of DelRec's 2025 code ({text})") from error
    for module in network.modules():
        if isinstance(module, RecurrentDelays | FeedforwardDelays):
            module.round_()
    return network.eval()


def _layers(state: dict[str, Tensor]) -> list[_Layer]:
    """The connections in their order, each with what follows it."""
    groups: dict[int, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        match = re.fullmatch(r"layers\.(\d{1,4})\.(\w+)", name)
        if match is None:
            raise ValueError(f"'{name[:100]}' is not one of its parameters")
        groups.setdefault(int(match[1]), {})[match[2]] = tensor
    layers: list[_Layer] = []
    for _, group in sorted(groups.items()):
        if "running_mean" in group:
            layers[-1]["norm"] = group
        elif "recurrent_weights" in group:
            if "p_spread" in group and group["p_spread"].dim() == 2:  # the same at every receiver: one per sender
                group["p_spread"] = group["p_spread"][0].clone()
            layers[-1]["recurrent"] = group
        else:
            layers.append({"connection": group, "norm": {}, "recurrent": {}})
    return layers


def _config(layers: list[_Layer], setting: str, sigma: float) -> NetworkConfig:
    """The setting's configuration, with what the file says in place of what the setting says."""
    profile = "equi-parameter" if setting.endswith("equi-parameter") else "paper-2025"
    known = preset(profile, find_tasks()[setting.removesuffix("-equi-parameter")])
    values: dict[str, Any] = {k.removeprefix("network."): v for k, v in known.items() if k.startswith("network.")}
    hidden, readout = layers[:-1], layers[-1]["connection"]
    first = hidden[0]["connection"]
    recurrent = {i: layer["recurrent"] for i, layer in enumerate(hidden) if layer["recurrent"]}
    positions = [layer["connection"]["P"] for layer in layers if "P" in layer["connection"]]
    kinds = {_kind(group.get("recurrent_delays")) for group in recurrent.values()} or {"none"}
    if len(kinds) > 1:
        raise ValueError(f"it mixes kinds of recurrent delays: {', '.join(sorted(kinds))}")
    kind = kinds.pop()
    values |= {
        "recurrent": kind,
        "inputs": first["weight"].shape[1],
        "classes": readout["weight"].shape[0],
        "hidden": tuple(layer["connection"]["weight"].shape[0] for layer in hidden),
        "recurrent_layers": tuple(recurrent) or None,
        "learn_spread": kind != "plain" and any("p_spread" in group for group in recurrent.values()),
        "sigma": sigma if kind != "plain" else 0.0,
        "feedforward": "v1" if positions else "none",
        "feedforward_layers": tuple(i for i, layer in enumerate(hidden) if "P" in layer["connection"]),
        "feedforward_readout": "P" in readout,
        "kernel_count": positions[0].shape[-1] if positions else 1,
        "batch_norm": bool(hidden[0]["norm"]),
        "bias": "bias" in first,
        "readout_bias": "bias" in readout,
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


def _named(layers: list[_Layer], config: NetworkConfig) -> dict[str, Tensor]:
    """The tensors by the names that `Network` has for them."""
    out: dict[str, Tensor] = {}
    for i, layer in enumerate(layers):
        prefix = "readout" if i == len(layers) - 1 else f"blocks.{i}.connection"
        for name, tensor in layer["connection"].items():
            # P (1, outputs, inputs, elements) is position (elements, outputs, inputs)
            moved = name == "P"
            out[f"{prefix}.{'position' if moved else name}"] = tensor[0].permute(2, 0, 1) if moved else tensor
        out |= {f"blocks.{i}.norm.{name}": tensor for name, tensor in layer["norm"].items()}
        for name, tensor in layer["recurrent"].items():
            if name != "p_spread" or config.learn_spread:  # without delays that code leaves it untrained
                out[f"blocks.{i}.spiking.{_RECURRENT[name]}"] = tensor
    return out

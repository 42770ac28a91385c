"""Checkpoints of DelRec's code of 2025, read as the networks that they are.

A file is {`net`: state_dict, `acc`, `epoch`}, its names `layers.<number>.<parameter>`: connections (`weight`, `bias`,
of feedforward delays also `P`), batch norm, recurrent connections (`recurrent_weights`, `recurrent_delays`,
`p_spread`). It does not hold time constants, thresholds, the window or sigma: those come from the published setting,
which the file's form tells (batch norm: SHD; no bias: SHD at equal parameters; one input: PS-MNIST; else SSC), or the
caller.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from delrec.feedforward import FeedforwardDelays
from delrec.recurrent import RecurrentDelays
from torch import Tensor

from delrec_bench.config import preset
from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError, nearest
from delrec_bench.interchange.checkpoint import checked_tensors, load_checkpoint
from delrec_bench.interchange.layers import Group, Layer, layers_of
from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.tasks.base import find_tasks

SETTINGS = {
    "shd": ("paper-2025", "shd"),
    "ssc": ("paper-2025", "ssc"),
    "ps-mnist": ("paper-2025", "ps-mnist"),
    "shd-equi-parameter": ("equi-parameter", "shd"),
}
"""Setting -> profile and task of the presets that say what the file does not."""

SIGMA = 0.06
"""10 * 0.95^(100 e / E) in the last epoch: what that code evaluates with; fixed delays, plain recurrence: 0."""


@dataclass(frozen=True)
class Imported:
    """What a checkpoint holds.

    Attributes:
        network: In evaluation mode, its delays rounded and sigma set, as that code evaluates: `network(x)` gives its
            logits. `delrec.deployed(network)` sets sigma to 0, as this suite scores.
        setting: The published setting that says what the file does not.
        epoch: Of the checkpoint, or None.
        accuracy: Validation accuracy in percent, as the file says, or None.
    """

    network: Network
    setting: str
    epoch: int | None
    accuracy: float | None

    def described(self) -> dict[str, Any]:
        """What was found, for programs."""
        network, count = self.network, self.network.count()
        config = network.config
        neuron = ("tau", "threshold", "reset", "surrogate", "readout", "recurrent", "feedforward", "window", "sigma")
        layers = [
            {"neurons": b.spiking.size, "recurrent": isinstance(b.spiking, RecurrentDelays), "delays": _delays(b)}
            for b in network.blocks
        ]
        return {
            "inputs": config.inputs,
            "classes": config.classes,
            "layers": layers,
            **{name: getattr(config, name) for name in neuron},
            "parameters": {n: getattr(count, n) for n in ("weights", "delays", "neuron", "total")},
        }

    def lines(self) -> list[str]:
        """What was found, layer by layer, for people."""
        config = self.network.config
        said = [
            f"{name} {value:g}"
            for name, value in (("epoch", self.epoch), ("accuracy", self.accuracy))
            if value is not None
        ]
        lines = [", ".join(["a checkpoint of DelRec's code of 2025", *said])]
        lines.append(
            f"not in the file, taken from setting {self.setting}: tau {config.tau:g}, threshold {config.threshold:g}, "
            f"{config.reset} reset, readout {config.readout}, window {config.window}; sigma "
            f"{config.sigma:g}"
        )
        parts: list[Any] = [*self.network.blocks]
        lines += [f"hidden layer {i}: {_connection(b.connection)}{_spiking(b)}" for i, b in enumerate(parts, 1)]
        lines.append(f"readout: {_connection(self.network.readout)}, {config.readout}")
        count = self.network.count()
        lines.append(
            f"parameters {count.total} ({count.weights} weights, {count.delays} delays, {count.neuron} neuron)"
        )
        return lines


def _connection(layer: Any) -> str:
    outputs, inputs = layer.weight.shape[:2]
    if not isinstance(layer, FeedforwardDelays):
        return f"{inputs} to {outputs}"
    delay = layer.delays()
    return f"{inputs} to {outputs}, delays of {float(delay.min()):g} to {float(delay.max()):g} steps"


def _delays(block: Any) -> dict[str, list[float]]:
    """The least and the greatest delay of a layer's connections, in steps."""
    of = {"feedforward": block.connection, "recurrent": block.spiking}
    return {
        name: [float(delay.min()), float(delay.max())]
        for name, layer in of.items()
        if isinstance(layer, RecurrentDelays | FeedforwardDelays)
        for delay in [layer.delays()]
    }


def _spiking(block: Any) -> str:
    text = "" if block.norm is None else ", batch norm"
    if not isinstance(block.spiking, RecurrentDelays):
        return text
    if block.spiking.delay_kind == "none":
        return f"{text}; recurrent, no delays"
    delay = block.spiking.delays()
    spread = "" if block.spiking.spread is None else ", learned spread"
    return (
        f"{text}; recurrent, {block.spiking.delay_kind} delays of {float(delay.min()):g} to {float(delay.max()):g} "
        f"steps, mean {float(delay.mean()):.3g}{spread}"
    )


def import_published(
    path: Path, setting: str | None = None, sigma: float = SIGMA, window: int | None = None
) -> Imported:
    """The network of a checkpoint of that code.

    Args:
        path: The file; it is read as numbers alone.
        setting: One of `SETTINGS`; None tells it by the file's form.
        sigma: Spread in steps that it is evaluated with.
        window: Of feedforward delays, in steps; None is the setting's.

    Raises:
        BenchError: It is no such file; names what is wrong in it.
    """
    content = load_checkpoint(path)
    if "net" not in content:
        keys = ", ".join(map(repr, list(content)[:5]))
        raise BenchError(f"{path} holds {keys or 'nothing'}; a checkpoint of DelRec's code of 2025 holds 'net'")
    state = checked_tensors(content["net"], str(path))
    layers = layers_of(state, path)
    if setting is not None and setting not in SETTINGS:
        raise BenchError(f"setting '{setting}' is not known; {nearest(setting, SETTINGS)}")
    setting = setting or _setting_of(layers)
    config = _config(layers, setting, sigma, window, path)
    need_memory(8 * 4 * sum(tensor.numel() for tensor in state.values()), str(path))
    exact = any(tensor.dtype == torch.float64 for tensor in state.values())
    with torch.random.fork_rng(devices=[]):
        network = Network(config).to(torch.float64 if exact else torch.float32)
    named = _named(layers, config)
    for name, held in network.state_dict().items():
        if name in named and named[name].shape != held.shape:
            there, right = tuple(named[name].shape), tuple(held.shape)
            raise BenchError(f"{path}: {name} would be {there}, but the layers around it need {right}")
    network.load_state_dict(named, strict=False)
    missing = set(network.state_dict()) - set(named) - {n for n in network.state_dict() if n.endswith(_SET)}
    if missing or not set(named) <= set(network.state_dict()):
        other = sorted(missing or set(named) - set(network.state_dict()))
        raise BenchError(f"{path}: {', '.join(other[:3])} {'is missing' if missing else 'has no place'}")
    for module in network.modules():
        if isinstance(module, RecurrentDelays | FeedforwardDelays):
            module.round_()
    return Imported(network.eval(), setting, _number(content, "epoch", int), _number(content, "acc", float))


_SET = (".sigma", ".connection.spread", "readout.spread")  # buffers that the configuration sets


def _number(content: Mapping[str, Any], name: str, kind: type) -> Any:
    value = content.get(name)
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
    return kind(value) if good else None


def _setting_of(layers: list[Layer]) -> str:
    if any(layer.norm is not None for layer in layers):
        return "shd"
    if "bias" not in layers[0].connection:
        return "shd-equi-parameter"
    return "ps-mnist" if layers[0].inputs == 1 else "ssc"


def _config(layers: list[Layer], setting: str, sigma: float, window: int | None, path: Path) -> NetworkConfig:
    """The setting's configuration, with what the file says in place of what it says."""
    profile, task = SETTINGS[setting]
    known = preset(profile, find_tasks()[task])
    values = {key.removeprefix("network."): value for key, value in known.items() if key.startswith("network.")}
    hidden, readout = layers[:-1], layers[-1]
    recurrent = [i for i, layer in enumerate(hidden) if layer.recurrent]
    delayed = [i for i, layer in enumerate(hidden) if layer.delayed]
    kinds = {_kind(hidden[i].recurrent, hidden[i].outputs) for i in recurrent} or {"none"}
    spread = {"p_spread" in hidden[i].recurrent for i in recurrent} if kinds != {"plain"} else {False}
    counts = {layer.connection["weight"].shape[2] for layer in layers if layer.delayed} or {1}
    mixed: dict[str, set[Any]] = {
        "forms of recurrent delays": kinds,
        "layers with and without a learned spread": spread,
        "layers with and without batch norm": {layer.norm is not None for layer in hidden},
        "hidden layers with and without bias": {"bias" in layer.connection for layer in hidden},
        "numbers of kernel elements": counts,
    }
    for what, found in mixed.items():
        if len(found) > 1:
            raise BenchError(
                f"{path} mixes {what} ({', '.join(sorted(map(str, found)))}); that code made no such network"
            )
    values |= {
        "recurrent": next(iter(kinds)),
        "inputs": layers[0].inputs,
        "classes": readout.outputs,
        "hidden": tuple(layer.outputs for layer in hidden),
        "recurrent_layers": tuple(recurrent) or None,
        "learn_spread": True in spread,
        "sigma": sigma if kinds != {"plain"} else 0.0,
        "feedforward": "v1" if delayed or readout.delayed else "none",
        "feedforward_layers": tuple(delayed),
        "feedforward_readout": readout.delayed,
        "kernel_count": counts.pop(),
        "batch_norm": layers[0].norm is not None,
        "bias": "bias" in layers[0].connection,
        "readout_bias": "bias" in readout.connection,
        "weight_init": "default",
    }
    if window is not None:
        values |= {"window": window, "right_padding": (window - 1) // 2 if values.get("right_padding") else 0}
    try:
        config = NetworkConfig(**values)
    except ValueError as error:
        raise BenchError(f"{path}: {error}") from error
    _check_window([layer for layer in layers if layer.delayed], config.window, path)
    return config


def _kind(recurrent: Group, size: int) -> str:
    if "recurrent_delays" not in recurrent:
        return "plain"
    shape = tuple(recurrent["recurrent_delays"].shape)
    return {(size,): "axonal", (size, size): "synaptic"}.get(shape, "shared")


def _check_window(delayed: list[Layer], window: int, path: Path) -> None:
    for layer in delayed:
        furthest = float(layer.connection["P"].abs().max())
        if furthest > window // 2:
            raise BenchError(
                f"{path}: layers.{layer.number}.P reaches {furthest:g} steps from the centre, but a window of {window} "
                f"reaches {window // 2}; give the window that it was trained with (--window)"
            )


def _named(layers: list[Layer], config: NetworkConfig) -> dict[str, Tensor]:
    """The tensors by the names that `Network` has for them."""
    out: dict[str, Tensor] = {}
    for i, layer in enumerate(layers):
        readout = i == len(layers) - 1
        prefix = "readout" if readout else f"blocks.{i}.connection"
        for name, tensor in layer.connection.items():
            # P (1, outputs, inputs, elements) is position (elements, outputs, inputs)
            moved = name == "P"
            out[f"{prefix}.{'position' if moved else name}"] = tensor[0].permute(2, 0, 1) if moved else tensor
        for name, tensor in (layer.norm or {}).items():
            out[f"blocks.{i}.norm.{name}"] = tensor
        names = {"recurrent_weights": "weight", "recurrent_delays": "delay", "p_spread": "spread"}
        for name, tensor in layer.recurrent.items():
            if name != "p_spread" or config.learn_spread:  # without delays that code leaves it untrained, at sigma 0
                out[f"blocks.{i}.spiking.{names[name]}"] = tensor
    return out

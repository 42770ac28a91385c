"""Networks as NIR graphs (Pedersen et al. 2024, arXiv 2311.14641), for what NIR has words for.

    tau dv/dt = (v_leak - v) + R I,  a spike where v > v_threshold, then v = v_reset          (nir.LIF)

In steps of dt by Euler that is our LIF with a hard reset: tau = tau_steps dt, R = tau_steps, v_leak = v_reset. R is
written as 1 and multiplied into the weights instead, since readers take it for 1 (norse does). Ours fires at
H >= threshold; the same is v > the largest number of the network's type below it, which is what is written. A spike
that goes round a loop arrives a step later, the least that a simulator in steps can do; a Delay node in the loop, d dt,
adds our d. Batch norm is folded into the weights, in float64. No reader takes dt from a file: see `readers`.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from delrec import LIF, FeedforwardDelays, RecurrentDelays, SpikeLinear, SpikingLayer, deployed

from delrec_bench.errors import BenchError
from delrec_bench.networks import Network
from delrec_bench.workspace import write_atomic

Arrays = dict[str, np.ndarray]


def nir_package() -> ModuleType:
    """The package nir.

    Raises:
        BenchError: It is not installed.
    """
    try:
        import nir
    except ImportError as error:
        raise BenchError("NIR files need the package nir: pip install 'delrec-bench[nir]'") from error
    return nir


def to_nir(network: Any, step_seconds: float, about: Mapping[str, str] | None = None) -> Any:
    """The graph of a network as it is deployed: delays rounded, no spread, no dropout.

    Args:
        network: A `delrec.Network`.
        step_seconds: Length of a step, which gives time constants and delays their seconds.
        about: Texts that are kept in the graph's metadata.

    Raises:
        BenchError: NIR has no word for a part of it, which is named.
    """
    nir = nir_package()
    if type(network) is not Network:
        raise BenchError(f"{type(network).__name__} is no stack of layers that NIR has words for; a delrec.Network is")
    config = network.config
    nodes: dict[str, Any] = {"input": nir.Input(input_type={"input": np.array([config.inputs])})}
    edges: list[tuple[str, str]] = []
    last = "input"
    number = np.float64 if next(network.parameters()).dtype == torch.float64 else np.float32
    with deployed(network), torch.no_grad():
        for i, block in enumerate(network.blocks, 1):
            last = _connect(nir, nodes, edges, last, f"hidden_{i}", block.connection, block.norm)
            nodes[f"spikes_{i}"] = lif = _neuron(nir, block.spiking, number, f"hidden layer {i}")
            _multiply(nodes[last], lif.tau)
            edges.append((last, last := f"spikes_{i}"))
            _loop(nir, nodes, edges, last, block.spiking, i, step_seconds)
        last = _connect(nir, nodes, edges, last, "readout", network.readout, network.readout_norm)
        if network.leak is not None:
            nodes["leak"], gain = _leak(nir, network)
            _multiply(nodes[last], gain)
            edges.append((last, last := "leak"))
    for node in nodes.values():  # in steps so far
        for name in ("tau", "delay"):
            if hasattr(node, name):
                setattr(node, name, getattr(node, name) * step_seconds)
    nodes["output"] = nir.Output(output_type={"output": np.array([config.classes])})
    edges.append((last, "output"))
    metadata = {"dt": step_seconds, "loop_steps": 1, "aggregate": config.aggregate, **(about or {})}
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)


def _connect(nir: Any, nodes: dict[str, Any], edges: list[Any], last: str, name: str, layer: Any, norm: Any) -> str:
    """Add a connection with its batch norm folded in; return the name of its last node."""
    what = name.replace("_", " layer ")
    if isinstance(layer, FeedforwardDelays):
        if layer.delay_kind != "axonal" or layer.kernel_count != 1:
            raise BenchError(
                f"{what}: feedforward delays are {layer.delay_kind}, {layer.kernel_count} a connection; NIR delays a "
                "sender's spikes alike for all receivers (axonal, one element)"
            )
        if layer.right_padding or layer.left_padding != layer.window - 1:
            raise BenchError(f"{what}: its feedforward delays pad the sequence on the right; NIR has no sequences")
        delay = layer.delays().flatten()
        _whole(delay, what)
        nodes[f"{name}_delay"] = nir.Delay(delay=_array(delay.expand(layer.inputs)))
        edges.append((last, last := f"{name}_delay"))
        weight = layer.dense_kernel().sum(-1)  # one tap is not 0
    elif type(layer) in (SpikeLinear, torch.nn.Linear):
        weight = layer.weight
    else:
        raise BenchError(f"{what}: NIR has no word for its connection, a {type(layer).__name__}")
    arrays = _folded(weight, layer.bias, norm, what)
    nodes[name] = nir.Affine(**arrays) if "bias" in arrays else nir.Linear(**arrays)
    edges.append((last, name))
    return name


def _folded(weight: torch.Tensor, bias: torch.Tensor | None, norm: Any, what: str) -> Arrays:
    if norm is None:
        own = {"weight": weight.numpy(force=True).copy()}
        return own if bias is None else own | {"bias": bias.numpy(force=True).copy()}
    if not isinstance(norm, torch.nn.BatchNorm1d):
        raise BenchError(f"{what}: NIR has no word for its {type(norm).__name__}")
    if norm.running_mean is None or norm.running_var is None:
        raise BenchError(f"{what}: its batch norm keeps no statistics, so that it depends on the batch")
    gain, offset = norm.weight.double(), norm.bias.double()
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = gain / torch.sqrt(variance + norm.eps)
    shift = -mean if bias is None else bias.double() - mean
    return {
        "weight": (weight.double() * scale.unsqueeze(-1)).numpy(force=True),
        "bias": (shift * scale + offset).numpy(force=True),
    }


def _neuron(nir: Any, layer: Any, number: type[np.floating[Any]], what: str) -> Any:
    if type(layer) not in (SpikingLayer, RecurrentDelays):
        raise BenchError(f"{what}: NIR has no word for a {type(layer).__name__}")
    if type(layer.neuron) is not LIF:
        raise BenchError(f"{what}: its neuron is {type(layer.neuron).__name__}; NIR has leaky integrate-and-fire only")
    if layer.neuron.reset != "hard":
        raise BenchError(
            f"{what}: its neuron subtracts the threshold (reset='soft'); NIR has only a reset to a voltage"
        )
    decay, threshold, rest = _constants(layer.neuron, layer.size)
    below = np.nextafter(threshold.astype(number), number(-np.inf))
    tau = 1 / (1 - decay.astype(np.float64))
    return nir.LIF(tau=tau, r=np.ones_like(tau), v_leak=rest.copy(), v_threshold=below, v_reset=rest.copy())


def _multiply(connection: Any, gain: np.ndarray) -> None:
    """Multiply what each receiver of a connection gets."""
    connection.weight = connection.weight * gain[:, None]
    if hasattr(connection, "bias"):
        connection.bias = connection.bias * gain


def _constants(neuron: LIF, size: int) -> list[Any]:
    """Return decay, threshold and resting potential of a neuron, (N,) in float64."""
    like = torch.zeros(0, dtype=torch.float64)
    return [c.expand(size).numpy(force=True) for c in neuron.coefficients_like(like)]


def _loop(nir: Any, nodes: dict[str, Any], edges: list[Any], last: str, layer: Any, i: int, step: float) -> None:
    """Add the recurrent connections of a layer."""
    if not isinstance(layer, RecurrentDelays):
        return
    if layer.delay_kind == "synaptic":
        raise BenchError(
            f"hidden layer {i}: its recurrent delays are synaptic, one a connection; NIR delays a sender's spikes "
            "alike for all receivers (axonal)"
        )
    delay = layer.delays().expand(layer.size)
    _whole(delay, f"hidden layer {i}")
    if bool((delay > 0).any()):
        nodes[f"delay_{i}"] = nir.Delay(delay=_array(delay))
        edges.append((last, last := f"delay_{i}"))
    nodes[f"recurrent_{i}"] = nir.Linear(weight=layer.effective_weight().numpy(force=True))
    _multiply(nodes[f"recurrent_{i}"], nodes[f"spikes_{i}"].tau)
    edges += [(last, f"recurrent_{i}"), (f"recurrent_{i}", f"spikes_{i}")]


def _whole(delay: torch.Tensor, what: str) -> None:
    if not torch.equal(delay, delay.round()):
        first = float(delay[delay != delay.round()][0])
        raise BenchError(f"{what}: a delay of {first:g} steps (rounding='none'); an exported network has whole delays")


def _array(values: torch.Tensor) -> np.ndarray:
    return np.asarray(values.numpy(force=True), dtype=np.float64)


def _leak(nir: Any, network: Network) -> tuple[Any, np.ndarray]:
    """The leaky readout, and the gain of what it gets."""
    leak = network.leak
    if type(leak) is not LIF:
        raise BenchError(
            f"readout: its leak is a {type(leak).__name__}; NIR has leaky integrators with fixed constants"
        )
    decay, _, rest = _constants(leak, network.config.classes)
    tau = 1 / (1 - decay.astype(np.float64))
    gain = np.ones_like(tau) if network.config.readout_gain == "complement" else tau
    return nir.LI(tau=tau, r=np.ones_like(tau), v_leak=rest.copy()), gain


SNNTORCH_SECONDS = 1e-4  # its step, whatever a file says


def readers(graph: Any) -> list[str]:
    """What others would make of a graph: how to read it, and what they cannot read, or would take for something else.

    As snntorch 1.0 (`import_from_nir`) and norse 1.1 (`from_nir`) do.
    """
    kinds = {type(node).__name__ for node in graph.nodes.values()}
    missing = ", ".join(sorted(kinds & {"Delay", "LI"}))
    step, loops = graph.metadata["dt"], any(name.startswith("recurrent_") for name in graph.nodes)
    neurons = [node for node in graph.nodes.values() if type(node).__name__ == "LIF"]
    rests = any(np.any(node.v_reset != 0) for node in neurons)
    several = any(len(np.unique(values)) > 1 for node in neurons for values in (node.tau, node.v_threshold))
    snntorch = [f"it has no {missing}"] if missing else []
    snntorch += ["it has no such loop"] if loops else []
    snntorch += ["it takes a resting voltage of 0 only"] if rests else []
    snntorch += ["it takes one tau and threshold per layer"] if several else []
    norse = [f"it has no {missing}"] if missing else []
    norse += ["it resets to 0, not to v_reset"] if rests else []
    told = []
    if snntorch:
        told.append(f"snntorch cannot read it: {'; '.join(snntorch)}")
    elif not np.isclose(step, SNNTORCH_SECONDS):
        told.append(f"snntorch takes a step for {SNNTORCH_SECONDS * 1000:g} ms: write the file with --step-ms 0.1")
    told.append(
        f"norse cannot read it: {'; '.join(norse)}"
        if norse
        else f"norse: from_nir(graph, dt={step:g}), else it takes 1 ms"
    )
    return told


def export_nir(path: Path, network: Any, step_seconds: float, about: Mapping[str, str] | None = None) -> list[str]:
    """Write a network as a NIR file, once the package nir has read it back; return what `readers` says of it.

    Raises:
        BenchError: NIR has no word for a part of the network.
    """
    nir, content = nir_package(), io.BytesIO()
    graph = to_nir(network, step_seconds, about)
    nir.write(content, graph)
    nir.read(io.BytesIO(content.getvalue()))
    write_atomic(path, content.getvalue())
    return readers(graph)

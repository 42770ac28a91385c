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
from typing import Any

import numpy as np
import torch
from delrec import LIF, FeedforwardDelays, RecurrentDelays, SpikeLinear, SpikingLayer, deployed

from delrec_bench.errors import BenchError
from delrec_bench.networks import Network
from delrec_bench.workspace import write_atomic

try:
    import nir
except ImportError:
    nir = None

SNNTORCH_SECONDS = 1e-4  # its step, whatever a file says


def to_nir(network: Any, step_seconds: float, about: Mapping[str, str] | None = None) -> Any:
    """The graph of a network as it is deployed: delays rounded, no spread, no dropout.

    A `BenchError` names a part that NIR cannot express. The length of a step gives time constants and delays their
    seconds; the texts of `about` are kept in the graph's metadata.
    """
    if nir is None:
        raise BenchError("NIR files need the package nir: pip install 'delrec-bench[nir]'")
    if type(network) is not Network:
        raise BenchError(f"{type(network).__name__} cannot be expressed in NIR; only a network of the suite can")
    config, graph = network.config, _Graph(step_seconds)
    graph.add("input", nir.Input(input_type={"input": np.array([config.inputs])}))
    number: Any = np.float64 if next(network.parameters()).dtype == torch.float64 else np.float32
    with deployed(network), torch.no_grad():
        for i, block in enumerate(network.blocks, 1):
            layer: Any = block.spiking
            what = f"hidden layer {i}"
            if type(layer) not in (SpikingLayer, RecurrentDelays):
                raise BenchError(f"{what}: NIR cannot express a {type(layer).__name__}")
            tau, threshold, rest = _constants(layer.neuron, layer.size, what)
            if layer.neuron.reset != "hard":
                raise BenchError(f"{what}: its neuron subtracts the threshold (reset='soft'); NIR resets to a voltage")
            graph.connect(f"hidden_{i}", block.connection, block.norm, tau)
            below = np.nextafter(threshold.astype(number), number(-np.inf))
            same = {"tau": tau * step_seconds, "r": np.ones_like(tau), "v_leak": rest, "v_reset": rest}
            graph.add(f"spikes_{i}", nir.LIF(v_threshold=below, **same))
            if isinstance(layer, RecurrentDelays):
                graph.loop(i, layer, tau)
        if network.leak is None:
            graph.connect("readout", network.readout, network.readout_norm)
        else:
            tau, _, rest = _constants(network.leak, config.classes, "readout")
            gain = 1.0 if config.readout_gain == "complement" else tau
            graph.connect("readout", network.readout, network.readout_norm, gain)
            graph.add("leak", nir.LI(tau=tau * step_seconds, r=np.ones_like(tau), v_leak=rest))
    graph.add("output", nir.Output(output_type={"output": np.array([config.classes])}))
    metadata = {"dt": step_seconds, "loop_steps": 1, "aggregate": config.aggregate, **(about or {})}
    return nir.NIRGraph(nodes=graph.nodes, edges=graph.edges, metadata=metadata)


def _constants(neuron: Any, size: int, what: str) -> list[np.ndarray]:
    """Time constant in steps, threshold and resting potential of a neuron, (N,) in float64."""
    if type(neuron) is not LIF:
        raise BenchError(f"{what}: its neuron is {type(neuron).__name__}; NIR only has leaky integrate-and-fire")
    like = torch.zeros(0, dtype=torch.float64)
    decay, threshold, rest = (c.expand(size).numpy(force=True).copy() for c in neuron.coefficients_like(like))
    return [1 / (1 - decay), threshold, rest]


class _Graph:
    """Nodes and edges; a node that is added follows the last one."""

    def __init__(self, step: float) -> None:
        self.step, self.last = step, ""
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []

    def add(self, name: str, node: Any) -> None:
        self.nodes[name] = node
        if self.last:
            self.edges.append((self.last, name))
        self.last = name

    def delay(self, name: str, layer: FeedforwardDelays | RecurrentDelays, size: int, what: str) -> None:
        """Add a node of delays, which are whole steps, one per sending neuron."""
        if layer.delay_kind not in ("axonal", "shared"):
            raise BenchError(
                f"{what}: its delays are {layer.delay_kind}; NIR has one delay per sending neuron (axonal)"
            )
        steps = layer.delays().flatten().expand(size).numpy(force=True).astype(np.float64)
        if np.any(steps != np.rint(steps)):
            first = steps[steps != np.rint(steps)][0]
            raise BenchError(f"{what}: a delay of {first:g} steps (rounding='none'); exported delays must be integers")
        self.add(name, nir.Delay(delay=steps * self.step))

    def connect(self, name: str, layer: Any, norm: Any, gain: Any = 1.0) -> None:
        """Add a connection, its batch norm folded in, and what its receivers get multiplied by a gain."""
        what = name.replace("_", " layer ")
        if isinstance(layer, FeedforwardDelays):
            if layer.kernel_count != 1 or layer.right_padding or layer.left_padding != layer.window - 1:
                said = f"{layer.kernel_count} delays per connection, {layer.right_padding} steps of right padding"
                raise BenchError(f"{what}: {said}; NIR expresses one delay and no right padding")
            self.delay(f"{name}_delay", layer, layer.inputs, what)
            weight = layer.dense_kernel().sum(-1)  # one tap is not 0
        elif type(layer) in (SpikeLinear, torch.nn.Linear):
            weight = layer.weight
        else:
            raise BenchError(f"{what}: NIR cannot express its connection, a {type(layer).__name__}")
        bias = layer.bias
        if norm is not None:
            scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
            shift = -norm.running_mean.double() if bias is None else bias.double() - norm.running_mean.double()
            weight, bias = weight.double() * scale.unsqueeze(-1), shift * scale + norm.bias.double()
        weights = weight.numpy(force=True) * (gain[:, None] if isinstance(gain, np.ndarray) else gain)
        if bias is None:
            self.add(name, nir.Linear(weight=weights))
        else:
            self.add(name, nir.Affine(weight=weights, bias=bias.numpy(force=True) * gain))

    def loop(self, i: int, layer: RecurrentDelays, tau: np.ndarray) -> None:
        """Add the recurrent connections of a layer, which lead back to its neurons."""
        neurons = self.last
        if bool((layer.delays() > 0).any()):
            self.delay(f"delay_{i}", layer, layer.size, f"hidden layer {i}")
        weight = layer.effective_weight().numpy(force=True) * tau[:, None]
        self.add(f"recurrent_{i}", nir.Linear(weight=weight))
        self.edges.append((self.last, neurons))
        self.last = neurons


def readers(graph: Any) -> list[str]:
    """What others would make of a graph: how to read it, and what they cannot read, or would take for something else.

    As snntorch 1.0 (`import_from_nir`) and norse 1.1 (`from_nir`) do.
    """
    kinds = {type(node).__name__ for node in graph.nodes.values()} & {"Delay", "LI"}
    neurons = [node for node in graph.nodes.values() if type(node).__name__ == "LIF"]
    snntorch = [f"it has no {', '.join(sorted(kinds))}"] if kinds else []
    norse = list(snntorch)
    if any(name.startswith("recurrent_") for name in graph.nodes):
        snntorch.append("it has no such loop")
    if any(len(np.unique(values)) > 1 for node in neurons for values in (node.tau, node.v_threshold)):
        snntorch.append("it takes one tau and threshold per layer")
    if any(np.any(node.v_reset != 0) for node in neurons):
        snntorch.append("it takes a resting voltage of 0 only")
        norse.append("it resets to 0, not to v_reset")
    step, told = graph.metadata["dt"], []
    if snntorch:
        told.append(f"snntorch cannot read it: {'; '.join(snntorch)}")
    elif not np.isclose(step, SNNTORCH_SECONDS):
        told.append(f"snntorch takes a step for {SNNTORCH_SECONDS * 1000:g} ms: write the file with --step-ms 0.1")
    if norse:
        return [*told, f"norse cannot read it: {'; '.join(norse)}"]
    return [*told, f"norse: from_nir(graph, dt={step:g}), else it takes 1 ms"]


def export_nir(path: Path, network: Any, step_seconds: float, about: Mapping[str, str] | None = None) -> list[str]:
    """Write a network as a NIR file; return what `readers` says of it."""
    graph, content = to_nir(network, step_seconds, about), io.BytesIO()
    nir.write(content, graph)
    write_atomic(path, content.getvalue())
    return readers(graph)

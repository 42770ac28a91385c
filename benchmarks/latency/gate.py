"""The correctness gate: a speed is reported only for code that has just passed it.

Every golden vector, through the published loop and through each engine; and on each shape (its widths, fewer steps and
rows) the engine's network against the reference engine's and the published one's, gradients included.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from delrec.engines import engine_for
from delrec.verify import check_file
from delrec_bench.latency import events
from delrec_bench.networks import Network
from torch import Tensor, nn

from benchmarks.latency.published import PublishedLIF, RingLayer
from benchmarks.latency.published_network import PublishedNetwork
from benchmarks.latency.shapes import Shape, make_inputs, make_network, smaller, stream

__all__ = ["GOLDEN", "GateError", "check_golden", "check_published_file", "check_shape"]

GOLDEN = Path(__file__).parents[2] / "packages" / "core" / "tests" / "golden"
_TOLERANCE = 1e-9
_STREAM_TOLERANCE = 1e-4  # float32


class GateError(Exception):
    """Code that was to be timed gives a wrong result."""


def check_published_file(path: Path) -> dict[str, float]:
    """Run the published loop on a golden file; return the largest relative error of each array.

    Raises:
        GateError: Spikes differ, or an error exceeds 1e-9.
    """
    with np.load(path, allow_pickle=False) as file:
        golden = {name: file[name] for name in file.files}
    soft = bool(golden["soft_reset"])
    neuron = PublishedLIF(
        tau=float(golden["tau"]),
        threshold=float(golden["v_threshold"]),
        v_reset=None if soft else float(golden["v_reset"]),
        detach_reset=bool(golden["detach_reset"]),
        surrogate=str(golden["surrogate"]),  # type: ignore[arg-type]
        parameter=float(golden["surrogate_param"]),
    )
    spread = torch.from_numpy(golden["p_spread"]) if bool(golden["use_p_spread"]) else None
    layer = RingLayer(
        torch.from_numpy(golden["W"]),
        torch.from_numpy(golden["d"]),
        neuron,
        sigma=float(golden["sigma"]),
        spread=spread,
    )
    x = torch.from_numpy(golden["x"]).requires_grad_()
    spikes, membrane = layer(x, membrane=True)
    loss = (torch.from_numpy(golden["cot_s"]) * spikes).sum() + (torch.from_numpy(golden["cot_v"]) * membrane).sum()
    loss.backward()
    found = {"spikes": spikes, "v_seq": membrane, "loss": loss, "mask": layer.taps(), "grad_x": x.grad}
    found |= {"grad_W": layer.weight.grad, "grad_d": layer.delay.grad}
    if layer.spread is not None:
        found["grad_p_spread"] = layer.spread.grad
    errors = {name: _error(value, torch.from_numpy(golden[name])) for name, value in found.items()}
    wrong = {name: error for name, error in errors.items() if not error <= (0 if name == "spikes" else _TOLERANCE)}
    if wrong:
        raise GateError(f"published loop, {path.name}: {wrong} exceed {_TOLERANCE}")
    return errors


def check_golden(engines: Sequence[str] = ("auto",), folder: Path = GOLDEN, device: str = "cpu") -> int:
    """Hold the published loop and the engines to every golden file; return how many comparisons were made.

    Raises:
        GateError: One disagrees, or there is none.
    """
    done = 0
    for path in sorted(folder.glob("*.npz")):
        if path.name.startswith("delrec_"):
            done += len(check_published_file(path))
        for engine in engines:
            results = check_file(path, engine, "float64", device)
            wrong = [result for result in results if not result.agrees]
            if wrong:
                raise GateError(f"engine {engine!r} ({engine_for(engine, device)[0].name}), {path.name}: {wrong}")
            done += len(results)
    if done == 0:
        raise GateError(f"no golden file in {folder}")
    return done


def check_shape(shape: Shape, recurrent: str, sigma: float, engine: str = "auto") -> dict[str, float]:
    """Hold an engine's network to the reference's and to the published one's in float64, on a part of the shape.

    Returns the largest relative error of outputs and gradients against each.

    Raises:
        GateError: Outputs or gradients differ by more than 1e-9; a differing spike moves them by far more.
    """
    small = smaller(shape, 40, 4)
    inputs, targets = make_inputs(small)
    ours = make_network(small.config(recurrent, sigma, engine), inputs).double()
    reference = Network(small.config(recurrent, sigma, "reference")).to(shape.device).double()
    reference.load_state_dict(ours.state_dict())
    inputs = inputs.double()
    errors = {}
    results = _result(ours, inputs, targets)
    for name, network in (("reference", reference), ("published", PublishedNetwork(ours).to(shape.device).double())):
        other = _result(network, inputs, targets)
        errors[name] = max(_error(results[key], other[key]) for key in results)
        if not errors[name] <= _TOLERANCE:
            worst = {key: _error(results[key], other[key]) for key in results}
            raise GateError(f"{shape.name}, {recurrent}, sigma {sigma:g}: engine {engine!r} against {name}: {worst}")
    errors["streamed"] = _check_stream(ours.float(), inputs.float())
    if not errors["streamed"] <= _STREAM_TOLERANCE:
        raise GateError(f"{shape.name}, {recurrent}, sigma {sigma:g}: streaming gives other outputs ({errors})")
    return errors


@torch.no_grad()
def _check_stream(network: Network, inputs: Tensor) -> float:
    """Hold the streamed outputs of one sample to those of the deployed network, in float32."""
    with network.deployed():
        streamer = (events(network) if inputs.is_cpu else None) or network
        whole = network(inputs[:, :1])
        worst = 0.0
        for steps in (1, len(inputs) // 2, len(inputs)):
            worst = max(worst, _error(stream(streamer, inputs[:steps, :1]), whole[steps - 1]))
    return worst


def _result(network: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Outputs and, by position, the gradients of every trainable parameter, without dropout."""
    network.eval()
    network.zero_grad()
    outputs = network(inputs)
    nn.functional.cross_entropy(network.scores(outputs), targets).backward()  # type: ignore[operator]
    gradients = {f"grad {n}": g for n, g in enumerate(_gradients(network))}
    return {"outputs": outputs.detach(), **gradients}


def _gradients(network: nn.Module) -> list[Tensor]:
    if isinstance(network, Network):
        connections, norms = [b.connection for b in network.blocks], [b.norm for b in network.blocks]
        layers = [b.spiking for b in network.blocks]
    else:
        assert isinstance(network, PublishedNetwork)
        connections, norms, layers = list(network.connections), list(network.norms), list(network.layers)
    modules = [*connections, *(n for n in norms if n is not None), *layers, network.readout]
    named = [dict(m.named_parameters(recurse=False)) for m in modules]
    found = [p[name].grad for p in named for name in sorted(p)]
    return [g for g in found if g is not None]


def _error(ours: Tensor, golden: Tensor) -> float:
    difference = (ours.detach().double() - golden.double()).abs()
    scale = max(1.0, float(golden.abs().max()) if golden.numel() else 0.0)
    return float(difference.max()) / scale if difference.numel() else 0.0

"""The correctness gate: a speed is reported only for code that has just passed it.

Every golden vector, through the published loop and through each engine; and on each shape (its widths, fewer steps and
rows) the engine's network against the reference engine's and the published one's, gradients included.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from delrec.engines import engine_for
from delrec.engines.events.network import EventNetwork
from delrec.verify import check_file
from delrec_bench.networks import Network
from torch import Tensor, nn

from benchmarks.latency.contenders import Shape, make_inputs, make_network, stream
from benchmarks.latency.published import PublishedLIF, PublishedNetwork, RingLayer

GOLDEN = Path(__file__).parents[2] / "packages" / "core" / "tests" / "golden"
TOLERANCE = 1e-9
STREAM_TOLERANCE = 1e-4  # float32


class GateError(Exception):
    """Code that was to be timed gives a wrong result."""


def check_golden(device: str) -> None:
    """Hold the published loop, the device's engine and the reference to every golden file."""
    for path in sorted(GOLDEN.glob("*.npz")):
        if path.name.startswith("delrec_"):
            check_published_file(path)
        for engine in ("auto", "reference"):
            found = check_file(path, engine, "float64", device)
            wrong = [result for result in found if not result.error <= result.tolerance]
            if wrong:
                raise GateError(f"engine {engine!r} ({engine_for(engine, device)[0].name}), {path.name}: {wrong}")


def check_published_file(path: Path) -> None:
    """Hold the published loop to a golden file: equal spikes, and no error above 1e-9."""
    with np.load(path, allow_pickle=False) as file:
        golden = {name: torch.from_numpy(file[name]) if file[name].dtype.kind == "f" else file[name] for name in file}
    settings = (float(golden[name]) for name in ("tau", "v_threshold", "v_reset", "surrogate_param"))
    tau, threshold, v_reset, parameter = settings
    v_reset, detach = None if golden["soft_reset"] else v_reset, bool(golden["detach_reset"])
    neuron = PublishedLIF(tau, threshold, v_reset, detach, str(golden["surrogate"]), parameter)
    spread = golden["p_spread"] if golden["use_p_spread"] else None
    layer = RingLayer(golden["W"], golden["d"], neuron, float(golden["sigma"]), spread)
    x = golden["x"].requires_grad_()
    spikes = layer(x)
    loss = (golden["cot_s"] * spikes).sum() + (golden["cot_v"] * layer.membranes).sum()
    loss.backward()
    found = {"spikes": spikes, "v_seq": layer.membranes, "loss": loss, "mask": layer.taps(), "grad_x": x.grad}
    found |= {"grad_W": layer.weight.grad, "grad_d": layer.delay.grad}
    if layer.spread is not None:
        found["grad_p_spread"] = layer.spread.grad
    errors = errors_of(found, golden)
    wrong = {name: error for name, error in errors.items() if not error <= (0 if name == "spikes" else TOLERANCE)}
    if wrong:
        raise GateError(f"published loop, {path.name}: {wrong} exceed {TOLERANCE}")


def check_shape(shape: Shape, recurrent: str, sigma: float) -> None:
    """Hold the engine's network to the reference's and to the published one's in float64, on a part of the shape.

    Outputs and gradients differ by 1e-9 at most; a differing spike moves them by far more.
    """
    shape = replace(shape, steps=min(40, shape.steps), batch=min(4, shape.batch))
    where = f"{shape.name}, {recurrent}, sigma {sigma:g}"
    inputs, targets = make_inputs(shape)
    ours = make_network(shape, recurrent, sigma).double()
    reference = Network(shape.config(recurrent, sigma, "reference")).to(shape.device).double()
    reference.load_state_dict(ours.state_dict())
    published = PublishedNetwork(ours).to(shape.device)
    results = _result(ours, inputs.double(), targets)
    for name, network in (("reference", reference), ("published", published)):
        errors = errors_of(results, _result(network, inputs.double(), targets))
        if not max(errors.values()) <= TOLERANCE:
            raise GateError(f"{where}: the engine against {name}: {errors}")
    if shape.device == "cpu":
        with torch.no_grad(), ours.float().deployed():
            events, whole = EventNetwork(ours), ours(inputs[:, :1])
            for steps in (1, shape.steps // 2, shape.steps):
                error = error_of(stream(events, inputs[:steps, :1]), whole[steps - 1])
                if not error <= STREAM_TOLERANCE:
                    raise GateError(f"{where}: {steps} streamed steps give other outputs ({error:g})")


def _result(network: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Outputs and, by position, the gradients of every trainable parameter, without dropout."""
    network.eval()
    network.zero_grad()
    outputs = network(inputs)
    nn.functional.cross_entropy(network.scores(outputs), targets).backward()  # type: ignore[operator]
    if isinstance(network, Network):
        layers = [part for b in network.blocks for part in (b.connection, b.norm, b.spiking)]
    else:
        layers = [part for of in zip(network.connections, network.norms, network.layers, strict=True) for part in of]  # type: ignore[arg-type]
    named = [dict(part.named_parameters(recurse=False)) for part in (*layers, network.readout) if part is not None]
    gradients = [of[name].grad for of in named for name in sorted(of)]
    return {"outputs": outputs} | {f"grad {n}": g for n, g in enumerate(g for g in gradients if g is not None)}


def errors_of(found: Mapping[str, Tensor | None], golden: Mapping[str, Tensor]) -> dict[str, float]:
    """The largest relative error of each array."""
    return {name: float("nan") if value is None else error_of(value, golden[name]) for name, value in found.items()}


def error_of(value: Tensor, golden: Tensor) -> float:
    """max|a-b| / max(1, max|b|)."""
    difference = (value.detach().double() - golden.detach().double()).abs()
    return float(difference.max()) / max(1.0, float(golden.detach().abs().max()))

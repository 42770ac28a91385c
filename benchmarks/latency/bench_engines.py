"""Core's engines against the published loop and the bare matrix products: `nox -s bench-engines [-- --quick]`.

On a CUDA device `nox -s gpu` measures the same without batch 1 and layers.

The correctness gate comes first, and what fails it is not timed. Every contender is timed by pytest-benchmark; before
each of its rounds its yardsticks run once, so that each ratio is of two times of one round (A B A B). All of it is one
process and one allocator.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from delrec import RecurrentDelays
from delrec.engines.events import EventNetwork
from delrec.neurons import LIF
from torch import Tensor, nn

from benchmarks.latency.calls import counted
from benchmarks.latency.contenders import CONTENDERS, MODES, Contender, build, network_of
from benchmarks.latency.gate import check_golden, check_shape
from benchmarks.latency.memory import measured
from benchmarks.latency.pairing import Pairs
from benchmarks.latency.published_network import PublishedNetwork, ring_layer
from benchmarks.latency.shapes import SHAPES, Shape, on, spike_rates

OURS, OURS_0 = "ours, axonal, sigma 10", "ours, axonal, sigma 0"
PUBLISHED, OWN_PLAIN = "published, axonal, sigma 10", "published, plain recurrent"
BIG = "PS-MNIST-256"  # the published loop cannot hold it
Rows = list[dict[str, Any]]


def yardsticks(contender: str) -> tuple[str, ...]:
    """What a contender's times are divided by."""
    if contender.startswith("floor") or contender == "ours, plain recurrent":
        return OURS, OURS_0
    if contender == PUBLISHED:
        return OURS, OWN_PLAIN  # the second holds the transcription to the published figures
    return (OURS_0,) if contender.endswith("sigma 0") else (OURS,)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "shape_name" not in metafunc.fixturenames:
        return
    device = metafunc.config.getoption("--device")
    every = [name for name in SHAPES if name != "tiny" and (device == "cpu" or name != BIG)]
    given = metafunc.config.getoption("--shapes")
    names = every if given is None else [name for name in given.split(",") if name]
    unknown = set(names) - set(SHAPES)
    if unknown:
        raise pytest.UsageError(f"--shapes {', '.join(sorted(unknown))}: choose of {', '.join(SHAPES)}")
    if "mode" in metafunc.fixturenames:
        metafunc.parametrize("mode", MODES[device])
    cells = [(s, c) for s in names for c in CONTENDERS if s != BIG or c.startswith(("ours, axonal", "floor"))]
    # Cells of module scope are grouped by shape; those of memory keep their place, which is before everything else.
    metafunc.parametrize(
        ("shape_name", "contender"), cells, scope=None if "stage" not in metafunc.fixturenames else "module"
    )


@cache
def _gate_golden(device: str = "cpu") -> int:
    return check_golden(("auto", "reference"), device=device)


@cache
def _gate_shape(shape: str, recurrent: str, sigma: float, device: str) -> dict[str, float]:
    return check_shape(on(shape, device), recurrent, sigma)


def _kind(contender: str) -> tuple[str, float] | None:
    """(recurrence, sigma) of a contender of ours or of the papers'."""
    if not contender.startswith(("ours", "published")):
        return None
    words = contender.split(", ")
    recurrent = {"plain recurrent": "plain", "no delay": "none"}.get(words[1], words[1])
    return recurrent, float(words[2].removeprefix("sigma ")) if len(words) > 2 else 0.0


class Stage:
    """The contenders of the shape in hand; those of another shape are dropped first, for their memory."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.shape: str | None = None
        self.built: dict[str, Any] = {}

    def get(self, shape: str, contender: str) -> Any:
        if self.shape != shape:
            self.built.clear()
            gc.collect()
            self.shape = shape
        if contender not in self.built:
            self.built[contender] = build(contender, on(shape, self.device))
        return self.built[contender]

    def release(self, contender: str) -> None:
        if contender not in (OURS, OURS_0, OWN_PLAIN):
            self.built.pop(contender, None)


@pytest.fixture(scope="module")
def stage(device: str) -> Stage:
    return Stage(device)


def test_memory(rows: Rows, quick: bool, threads: int, device: str, shape_name: str, contender: str) -> None:
    """Live saved tensors and peak memory of a training step.

    First of all tests: the process that times keeps what it once had, and the published networks need 12 GiB each.
    """
    if contender.startswith("floor") or (quick and shape_name != "SHD"):
        pytest.skip("not measured here")
    try:
        found = measured(shape_name, contender, threads, device)
    except RuntimeError as error:
        if "OutOfMemoryError" not in str(error):
            raise
        pytest.skip(f"{contender} on {shape_name}: more than the card's memory")
    rows.append({"section": "memory", "shape": shape_name, "contender": contender, **found})


def test_network(
    benchmark: Any, stage: Stage, rows: Rows, quick: bool, threads: int, shape_name: str, contender: str, mode: str
) -> None:
    """Training step, forward pass, batch-1 latency and streaming of a whole network."""
    device, last = stage.device, MODES[stage.device][-1]
    if mode in ("batch1", "stream") and shape_name == BIG:
        pytest.skip("the batch of 32 has the same row")
    _gate_golden(device)
    kind = _kind(contender)
    if kind is not None:
        _gate_shape(shape_name, *kind, device)
    subject = stage.get(shape_name, contender)
    work = subject.work(mode)
    if work is None:
        if mode == last:
            stage.release(contender)
        pytest.skip(f"{contender} has no {mode}")
    # A sample streamed is set beside the same sample run whole.
    against = {"batch1": subject.work("batch1")} if mode == "stream" else None
    pairs = Pairs(
        work, against or {name: stage.get(shape_name, name).work(mode) for name in yardsticks(contender)}, quick
    )
    info: dict[str, Any] = {"section": "network", "shape": shape_name, "mode": mode, "contender": contender}
    if isinstance(subject, Contender) and contender.startswith("ours"):
        info["rates"] = spike_rates(subject.network, subject.inputs)
        engines = getattr(subject.network, "engines", None)
        info["engine"] = engines() if engines else None
    try:
        rows.append(pairs.run(benchmark, task=shape_name, device=device, threads=threads, **info))
    except torch.OutOfMemoryError:
        pytest.skip(f"{contender} on {shape_name}: more than the card's memory")
    if mode == last:
        stage.release(contender)


cpu_only = pytest.mark.skipif("config.getoption('--device') != 'cpu'", reason="measured on the cpu")


def _layer_step(layer: Callable[[Tensor], Tensor], x: Tensor, parameters: list[nn.Parameter]) -> Callable[[], None]:
    def step() -> None:
        for p in parameters:
            p.grad = None
        layer(x.requires_grad_()).sum().backward()

    return step


def _currents(steps: int, batch: int, size: int) -> Tensor:
    """Currents that a soft-reset LIF of tau 2 answers with spikes at a few percent."""
    generator = torch.Generator().manual_seed(0)
    return 0.62 * torch.rand((steps, batch, size), generator=generator)


@cpu_only
@pytest.mark.parametrize("sigma", [10.0, 0.0])
def test_synaptic_layer(benchmark: Any, rows: Rows, quick: bool, threads: int, sigma: float) -> None:
    """Training step of a layer with synaptic delays, N = 256, T = 100, batch 32: published against ours."""
    _gate_golden()
    torch.manual_seed(0)
    layer = RecurrentDelays(256, neuron=LIF(), delays="synaptic", sigma=sigma)
    with torch.no_grad():
        layer.delay.uniform_(0, 30)
    x = _currents(100, 32, 256)
    published = ring_layer(layer)
    rate = float(layer(x).detach().mean())
    ours = _layer_step(layer, x, list(layer.parameters()))
    pairs = Pairs(_layer_step(published, x, list(published.parameters())), {"ours": ours}, quick)
    name = f"published, synaptic layer, sigma {sigma:g}"
    info = {"section": "synaptic", "shape": "N 256, T 100, batch 32", "mode": "train", "contender": name}
    info |= {"taps": published.taps().shape[-1], "rates": [rate], "engine": layer.engine_used}
    rows.append(pairs.run(benchmark, task="layer", device="cpu", threads=threads, **info))


@cpu_only
@pytest.mark.parametrize("sigma", [10.0, 0.0])
@pytest.mark.parametrize("longest", [10, 20, 40, 80])
def test_longest_delay(benchmark: Any, rows: Rows, quick: bool, threads: int, longest: int, sigma: float) -> None:
    """Training step of an axonal layer as its largest delay grows: against the same layer with delays up to 5."""
    x = _currents(250, 64, 256)

    def work(most: int) -> Callable[[], None]:
        torch.manual_seed(0)
        layer = RecurrentDelays(256, neuron=LIF(), sigma=sigma)
        with torch.no_grad():
            layer.delay.uniform_(0, most)
        return _layer_step(layer, x, list(layer.parameters()))

    pairs = Pairs(work(longest), {"delays to 5": work(5)}, quick)
    name = f"axonal layer, delays to {longest}, sigma {sigma:g}"
    info = {"section": "longest delay", "shape": "N 256, T 250, batch 64", "mode": "train", "contender": name}
    rows.append(pairs.run(benchmark, task="layer", device="cpu", threads=threads, **info))


@cpu_only
@pytest.mark.parametrize("mode", ["train", "forward", "batch1"])
def test_feedforward_delays(benchmark: Any, rows: Rows, quick: bool, threads: int, mode: str) -> None:
    """The SHD network with feedforward delays in layer 2: the dense convolution against ours."""
    shape: Shape = SHAPES["SHD"]
    network = network_of(shape, "none", 0.0, feedforward="v1", learn_spread=False, right_padding=0)
    single = network_of(shape, "none", 0.0, feedforward="v1", learn_spread=False, right_padding=0).eval()
    events = EventNetwork(single)
    ours = Contender(network, shape, torch.no_grad()(lambda: events.classify(ours.inputs[:, :1])))
    dense = Contender(PublishedNetwork(network), shape)
    network.eval()
    with torch.no_grad():
        gap = float((network(ours.inputs[:, :8]) - dense.network.eval()(ours.inputs[:, :8])).abs().max())
    assert gap < 1e-3, f"feedforward delays differ from the dense convolution by {gap:g}"
    pairs = Pairs(dense.work(mode), {"ours": ours.work(mode)}, quick)
    info = {"section": "feedforward", "shape": "SHD", "mode": mode, "contender": "dense convolution"}
    info["rates"] = spike_rates(network, ours.inputs)
    rows.append(pairs.run(benchmark, task="SHD", device="cpu", threads=threads, **info))


@cpu_only
@pytest.mark.parametrize("gradients", [True, False])
def test_calls(benchmark: Any, rows: Rows, quick: bool, threads: int, gradients: bool) -> None:
    """Calls and frames of a forward pass, and one step of one sample against the reference engine, N = 256."""
    torch.manual_seed(0)
    layers = [RecurrentDelays(256, max_delay=30, engine=engine) for engine in ("auto", "reference")]
    ours, reference = (lambda layer=layer: layer(_currents(1, 1, 256)) for layer in layers)
    with torch.set_grad_enabled(gradients):
        ours()
        calls = counted(ours)
        pairs = Pairs(reference, {"ours": ours}, quick)
        info: dict[str, Any] = {"section": "calls", "shape": "N 256, T 1, batch 1", "mode": "forward"}
        info |= {"contender": f"the reference engine, {'with' if gradients else 'without'} gradients"}
        info |= {"calls": calls.calls, "frames": calls.frames, "engine": layers[0].engine_used}
        rows.append(pairs.run(benchmark, task="layer", device="cpu", threads=threads, **info))


@cpu_only
def test_data_path(benchmark: Any, rows: Rows, quick: bool, threads: int) -> None:
    """Batches of SSC's full size, 100,000 samples of 250 x 140 (quick: 5,000): samples a second, and memory."""
    from benchmarks.latency.data_path import store

    samples = store(5_000 if quick else 100_000)
    generator = torch.Generator().manual_seed(0)
    batches = iter([torch.randint(len(samples), (128,), generator=generator) for _ in range(200)])
    rounds = 20
    benchmark.pedantic(lambda: samples.batch(next(batches)), rounds=rounds, iterations=1, warmup_rounds=2)
    seconds = sorted(benchmark.stats.stats.data)
    held = samples.counts.starts.nbytes + samples.counts.places.nbytes + samples.counts.values.nbytes
    entry = {"section": "data path", "shape": f"SSC, {len(samples)} samples of 250 x 140", "contender": "Samples.batch"}
    entry |= {"samples_per_second": 128 / seconds[rounds // 2], "bytes": held, "seconds": seconds}
    benchmark.extra_info.update({k: v for k, v in entry.items() if k != "seconds"}, threads=threads, device="cpu")
    rows.append(entry)

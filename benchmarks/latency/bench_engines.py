"""Core's engines against the published loop and the bare matrix products: `nox -s bench-engines [-- --quick]`.

On a CUDA device `nox -s gpu` measures whole networks alone. The correctness gate comes first, and what fails it is not
timed. All of it is one process and one allocator.
"""

from functools import cache
from typing import Any

import pytest
import torch
from delrec import RecurrentDelays
from delrec.neurons import LIF
from delrec_bench.latency.firing import spike_rates
from delrec_bench.latency.timing import Work, quartiles
from delrec_bench.training import engines_of
from torch import Tensor

from benchmarks.latency.contenders import CONTENDERS, SHAPES, Contender, floor, layer_work, on
from benchmarks.latency.gate import check_golden, check_shape
from benchmarks.latency.page import FLOOR, OURS, OURS_0, PLAIN, PUBLISHED, Row
from benchmarks.latency.published import ring_layer

BIG = "PS-MNIST-256"  # the published loop cannot hold it


def yardsticks(contender: str, mode: str) -> tuple[str, ...]:
    """What a contender's times are divided by."""
    if contender in (OURS, OURS_0):
        return (FLOOR, PLAIN) if mode in ("train", "forward") else (PLAIN,)  # of one sample, products cost nothing
    if contender == PUBLISHED:
        return OURS, "published, plain recurrent"  # 4.1 on SHD and 6.2 on SSC in a training step of the original
    return (OURS_0,) if contender.endswith("sigma 0") else (OURS,)


def applies(shape: str, contender: str, mode: str, device: str) -> bool:
    """Whether a contender has a mode on a shape; batch 1 and streaming of the big batch are those of the small one."""
    if mode in ("batch1", "stream") and (device == "cuda" or shape == BIG):
        return False
    return (mode != "stream" or contender.startswith("ours")) and (shape != BIG or contender in (OURS, OURS_0))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "contender" in metafunc.fixturenames:
        device = metafunc.config.getoption("--device")
        usual = [name for name in SHAPES if name != "tiny" and (device == "cpu" or name != BIG)]
        names = metafunc.config.getoption("--shapes") or usual
        cells = [(s, c, m) for s in names for c in CONTENDERS for m in MODES]
        metafunc.parametrize(("shape", "contender", "mode"), [c for c in cells if applies(*c, device)])


MODES = ("train", "forward", "batch1", "stream")
gate_golden, gate_shape = cache(check_golden), cache(check_shape)


@cache
def built(shape: str, contender: str, device: str) -> Contender:
    return CONTENDERS[contender](on(shape, device))


def work(shape: str, contender: str, mode: str, device: str) -> Work:
    if contender == FLOOR:
        return floor(on(shape, device), mode == "train")
    return built(shape, contender, device).works[mode]


def test_network(
    timed: Any, pytestconfig: pytest.Config, rows: list[Row], shape: str, contender: str, mode: str
) -> None:
    """Training step, forward pass, batch-1 latency and streaming of a whole network."""
    device = pytestconfig.getoption("--device")
    gate_golden(device)
    note, whose = "", contender.split(", ")
    if whose[0] in ("ours", "published"):
        kind = {"plain recurrent": "plain", "no delay": "none"}.get(whose[1], whose[1])
        gate_shape(on(shape, device), kind, float(whose[2].removeprefix("sigma ")) if len(whose) > 2 else 0.0)
    try:
        own = built(shape, contender, device)
        if whose[0] == "ours":
            rates = ", ".join(f"{100 * rate:.1f}" for rate in spike_rates(own.network, own.inputs))
            note = f"{engines_of(own.network)}, spikes {rates} %"
        if (contender, mode) == (PUBLISHED, "train"):
            over = quartiles([own.saved_bytes() / built(shape, OURS, device).saved_bytes()])
            rows.append(Row("engines", shape, "bytes saved", contender, None, {OURS: over}))
        # a sample that is streamed is set beside the same sample run whole
        others = {"batch 1": own.works["batch1"]} if mode == "stream" else {
            name: work(shape, name, mode, device) for name in yardsticks(contender, mode)
        }  # fmt: skip
        timed("engines", shape, mode, contender, own.works[mode], others, note)
    except torch.OutOfMemoryError:
        pytest.skip(f"{contender} on {shape}: more than the card's memory")


def currents(steps: int, batch: int, size: int) -> Tensor:
    """Currents that a soft-reset LIF of tau 2 answers with spikes at a few percent."""
    return 0.62 * torch.rand((steps, batch, size), generator=torch.Generator().manual_seed(0))


def axonal(most: float, sigma: float, kind: Any = "axonal") -> RecurrentDelays:
    """A layer with delays up to `most` steps."""
    torch.manual_seed(0)
    layer = RecurrentDelays(256, neuron=LIF(), delays=kind, sigma=sigma)
    with torch.no_grad():
        layer.delay.uniform_(0, most)
    return layer


cpu_only = pytest.mark.skipif("config.getoption('--device') != 'cpu'", reason="measured on the cpu")


@cpu_only
@pytest.mark.parametrize("sigma", [10.0, 0.0])
def test_synaptic_layer(timed: Any, sigma: float) -> None:
    """Training step of a layer with synaptic delays: published against ours."""
    gate_golden("cpu")
    layer, x = axonal(30, sigma, "synaptic"), currents(100, 32, 256)
    published = ring_layer(layer)
    theirs, ours = (layer_work(one, x, "train") for one in (published, layer))
    name = f"published, synaptic layer, sigma {sigma:g}"
    timed("engines", "N 256, T 100, batch 32", "train", name, theirs, {"ours": ours})


@cpu_only
@pytest.mark.parametrize("sigma", [10.0, 0.0])
def test_long_delays(timed: Any, sigma: float) -> None:
    """Training step of an axonal layer with delays up to 80 steps: against the same layer with delays up to 5."""
    x = currents(250, 64, 256)
    far, near = (layer_work(one, x, "train") for one in (axonal(80, sigma), axonal(5, sigma)))
    name = f"axonal layer, delays to 80, sigma {sigma:g}"
    timed("engines", "N 256, T 250, batch 64", "train", name, far, {"delays to 5": near})


@cpu_only
@pytest.mark.parametrize("gradients", [True, False])
def test_one_step(timed: Any, gradients: bool) -> None:
    """One step of one sample: the reference engine against ours."""
    layers = [RecurrentDelays(256, max_delay=30, engine=engine) for engine in ("reference", "auto")]
    reference, ours = (lambda layer=layer: layer(currents(1, 1, 256)) for layer in layers)
    with torch.set_grad_enabled(gradients):
        name = f"reference engine, with{'' if gradients else 'out'} gradients"
        timed("engines", "N 256, T 1, batch 1", "forward", name, reference, {"ours": ours})

"""The triton engine's scan is the reference engine's: on a card, or in Triton's interpreter, which is slow."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from delrec import LIF, Surrogate
from delrec.delays import triangle_sides
from delrec.engines import EngineError, Request
from delrec.engines import run as run_engine
from delrec.feedforward import FeedforwardDelays
from delrec.verify import check_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from problems import CARD as DEVICE
from problems import F64, NEURONS, any_problem, assert_equal, delays_agree, difference, drawn, problem, result, run

pytest.importorskip("triton", "3.4", reason="the triton engine needs triton: pip install 'delrec[triton]'")
from delrec.engines.triton import ENGINE, delays, tiles
from delrec.engines.triton import scan as passes
from delrec.engines.triton.axonal import MANY
from delrec.engines.triton.tiles import INTERPRETED, Tiles, tiles_for

pytestmark = pytest.mark.skipif(DEVICE == "cpu" and not INTERPRETED, reason="no card, and TRITON_INTERPRET is not set")
ON_A_CARD = pytest.mark.skipif(DEVICE == "cpu", reason="the interpreter has one thread, and always the same bits")
SLOW = pytest.mark.slow if DEVICE == "cpu" else ()  # in the interpreter; `nox -s gpu-check` runs it
FEW = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))


def made(*arguments, **options):
    return problem(*arguments, device=DEVICE, **options)


def agrees(arguments, tolerance=1e-9):
    assert_equal(arguments, tolerance, "triton")


def of_rows(rows, size, batch, dtype):
    """Tiles of few rows, as on a GPU, or of 16."""
    return Tiles(-(-batch // rows), rows, 16, 8, "ieee", tiles_for(size, batch, F64).options)


@FEW
@given(
    any_problem(5, 5, 18, sigma=[0.0, 0.7, 2.0, 4.5], reach=[0.0, 3.0, 40.0], past=[0, 1, 5], device=[DEVICE]),
    st.sampled_from([1, 4, 16]),
)
def test_equals_the_reference_in_float64(arguments, rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "tiles_for", lambda *of: of_rows(rows, *of))
        agrees(arguments)


@pytest.mark.parametrize(
    ("form", "sigma"), [pytest.param(*f, marks=SLOW) for f in (("axonal", 17.0), ("synaptic", 0.0))]
)
def test_words_of_32_steps_end_and_windows_are_wider(form, sigma):
    agrees(made("soft", form, 34, 1, 2, sigma, reach=30.0))


def most_taps(arguments):
    """Taps of the longest kernel that can be met."""
    with torch.no_grad():
        length = len(arguments["current"]) + len(arguments["state"].history if "state" in arguments else ())
        width = arguments["width"].expand(arguments["delay"].shape)
        return int(triangle_sides(arguments["delay"], width, length)[1].max())


SUMMED = {
    "blocks end, given steps, mask": {"steps": 36, "sigma": 4.0, "reach": 3.0, "past": 5, "mask": "step"},
    "delays longer than the sequence": {"steps": 7, "sigma": 5.5, "reach": 60.0, "past": 2},
    "hardly a delay, triangles wider than the sequence": {"steps": 9, "sigma": 9.3, "reach": 0.4},
    "taps and sums, a half-width a sender": {"steps": 12, "sigma": 4.0, "reach": 6.0, "spread": True},
}


@pytest.mark.parametrize("form", ["axonal", pytest.param("synaptic", marks=SLOW)])
@pytest.mark.parametrize("case", [pytest.param(name, marks=() if "hardly" in name else SLOW) for name in SUMMED])
def test_wide_triangles_are_read_from_running_sums(case, form):
    options = dict(SUMMED[case])
    arguments = made("soft", form, options.pop("steps"), 2, 3, options.pop("sigma"), **options)
    assert most_taps(arguments) > MANY.value
    agrees(arguments)


@pytest.mark.parametrize(
    ("form", "steps", "limit"),
    [
        *(pytest.param(form, 70, 12, marks=SLOW) for form in ("synaptic", "axonal")),
        *(pytest.param("synaptic", 140, limit, marks=SLOW) for limit in (124, 139)),
    ],
)
def test_running_sums_neither_drift_nor_lose_what_is_read_off_them(form, steps, limit):
    """Gradients of one sign, and blocks of 16, 128 and 256, the last in float64, by the longest delay that may come.

    Sums from the end alone would be wrong by 4e-5 in float32.
    """
    draw = torch.Generator().manual_seed(0)
    current = torch.where(torch.rand(steps, 1, 1, generator=draw) < 0.3, 3.0, -2.0).to(DEVICE)
    arguments = made("soft", form, 1, 1, 1, 4.0, dtype=torch.float32, reach=3.0) | {"current": current}
    arguments["weight"] = torch.full((1, 1), 0.2, device=DEVICE, requires_grad=True)
    arguments["current"].requires_grad_()
    assert most_taps(arguments) > MANY.value
    exact = {k: v.detach().double().requires_grad_() for k, v in arguments.items() if torch.is_tensor(v)}
    exact["neuron"] = NEURONS["soft"]().attach(1).to(DEVICE, F64)
    found = {}
    for engine, known in (("triton", arguments), ("cpu" if DEVICE == "cpu" else "reference", exact)):
        out = run(engine, limit=limit, **known)
        names = ("current", "weight", "delay", "width")
        grads = torch.autograd.grad(out.states[0].sum(), [known[name] for name in names])
        found[engine] = (out.spikes, out.states[0], *grads)
    (spikes, *ours), (wanted, *theirs) = found.values()
    assert torch.equal(spikes.double(), wanted) and 0.1 < float(spikes.detach().mean()) < 0.6
    errors = [difference(a.detach().double(), b.detach()) for a, b in zip(ours, theirs, strict=True)]
    assert errors[0] < 2e-6 and max(errors) < (2e-4 if limit == 124 else 2e-6), errors


@pytest.mark.parametrize("sigma", [0.0, 2.0])
@pytest.mark.parametrize("delay", [float("nan"), -1e30])
def test_a_delay_that_is_no_number_or_none_of_this_world_reads_nothing(delay, sigma, monkeypatch):
    """One row a program and float64, where a place before the first would be read as such."""
    options = tiles_for(2, 1, F64).options
    monkeypatch.setattr(passes, "connection_tiles", lambda *_: Tiles(1, 1, 16, 1, "ieee", options))
    arguments = made("soft", "synaptic", 5, 1, 2, sigma, reach=3.0)
    with torch.no_grad():
        arguments["delay"][0, 1] = delay
    out = run("triton", limit=12, **arguments)
    grads = torch.autograd.grad(out.states[0].sum(), [arguments["current"], arguments["weight"], arguments["delay"]])
    (hit, spared) = out.states[0].detach()[:, 0].isnan().T
    assert hit.all() and not spared.any()
    assert not all(g.isfinite().all() for g in grads)


@pytest.mark.parametrize("form", ["axonal", pytest.param("synaptic", marks=SLOW)])
@pytest.mark.parametrize(("sigma", "delay"), [pytest.param(0.0, 1e30, marks=SLOW), (4.0, 20.0)])
def test_a_delay_beyond_the_longest_that_may_come_reads_nothing_in_any_block(delay, sigma, form):
    arguments = made("soft", form, 33, 1, 2, sigma, reach=3.0)
    with torch.no_grad():
        arguments["delay"][..., 1] = delay
    assert sigma == 0 or most_taps(arguments) > MANY.value
    agrees(arguments | {"limit": 12})


@pytest.mark.parametrize("sigma", [pytest.param(sigma, marks=SLOW) for sigma in (0.0, 0.3, 2.6, 4.0)])
def test_triangles_that_end_anywhere_before_the_longest_tap(sigma):
    """Cut off right of the middle, at it, left of it and to a single tap; whole delays, halves and any."""
    limit = 7
    arguments = made("soft", "axonal", 36, 1, 8, sigma, past=3)
    with torch.no_grad():
        arguments["delay"].copy_(torch.tensor([limit - 4, limit - 1, limit, limit + 1.5, limit + 2, 0, 2.5, 3.71]))
    agrees(arguments | {"limit": limit})


def test_rows_of_a_program_leave_no_multiprocessor_with_two(monkeypatch):
    monkeypatch.setattr(tiles, "INTERPRETED", False)
    asked = [(256, 132), (256, 84), (64, 84), (2048, 132)]
    for number, found in ((4, [(2, 128), (4, 64), (1, 64), (4, 512)]), (8, [(2, 128), (2, 128), (1, 64), (2, 1024)])):
        chosen = [tiles.connection_tiles(212, *each, number) for each in asked]
        assert [(c.rows, c.programs) for c in chosen] == found
        assert all(c.rows * number <= 16 for c in chosen), "a thread would have half of its rows, behind barriers"
        assert all(212 % c.deep == 0 and 32 * c.options["num_warps"] == c.cols for c in chosen)


def test_products_follow_torchs_matmul_precision(monkeypatch):
    monkeypatch.setattr(tiles, "INTERPRETED", False)
    for said, precision, rows in (("highest", "ieee", 4), ("high", "tf32", 16), ("medium", "bf16", 16)):
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda said=said: said)
        assert tiles_for(256, 256, torch.float32)[1::3] == (rows, precision)
        assert tiles_for(256, 256, F64)[1::3] == tiles_for(256, 256, None)[1::3] == (4, "ieee")


TILES = {
    "rows apart, tiles of columns, few terms at a time": (1, 16, 2, "ieee"),
    "two rows, more columns than neurons": (2, 32, 8, "ieee"),
    "tensor cores, tiles of columns and of terms": (16, 16, 16, "tf32"),
}
FORMS = [("none", 0.0), ("axonal", 4.0), *(pytest.param(*f, marks=SLOW) for f in (("axonal", 0.0), ("synaptic", 4.0)))]


@pytest.mark.parametrize(("form", "sigma"), FORMS)
@pytest.mark.parametrize("tile", [pytest.param(name, marks=() if "cores" in name else SLOW) for name in TILES])
def test_every_tile_gives_the_same(tile, form, sigma, monkeypatch):
    """Tiles that a card would get, on sizes that do not fill them; few senders that are heard of, and nearly all."""
    rows, cols, deep, precision = TILES[tile]

    def chosen(size, batch, *_):
        terms = math.gcd(deep, size) if form == "synaptic" else deep
        return Tiles(-(-batch // rows), rows, cols, terms, precision, tiles_for(size, batch, F64).options)

    monkeypatch.setattr(passes, "connection_tiles" if form == "synaptic" else "tiles_for", chosen)
    steps, size = (6, 18) if form == "synaptic" else (9, 17)
    batch = 2 if rows == 1 else 3
    arguments = made("soft", form, steps, batch, size, sigma, mask="sequence", past=2)
    assert sigma == 0 or most_taps(arguments) > MANY.value
    agrees(arguments)


@dataclass(frozen=True)
class Steep(Surrogate):
    """1 / (1 + u^6), and a power that is not defined where u is negative."""

    scale: float

    def derivative(self, u):
        return 1 / (1 + u**6) + self.scale * (u**5 + u**-7 + torch.where(u > 0, u, 1) ** 2.3)


def test_whole_powers_of_negative_numbers():
    agrees(made(LIF(surrogate=Steep(1e-3)).attach(4), "none", 8, 6, 4, 0.0))


def test_inference_keeps_two_steps_and_training_one_bit_a_spike():
    arguments = made("hard", "axonal", 33, 2, 5, 1.0)
    with torch.no_grad():
        out = run("triton", trace=False, **arguments)
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t):
        whole = run("triton", **arguments)
    assert out.states == () and torch.equal(out.spikes, whole.spikes)
    assert torch.equal(out.final.states[0], whole.final.states[0])
    words = [t for t in kept.values() if t.dtype == torch.int32 and t.shape[1:] == (2, 5)]
    assert [len(w) for w in words] == [3], "of 33 steps, and of those before"
    assert not any(t.shape == whole.spikes.shape for t in kept.values())


@ON_A_CARD
@pytest.mark.parametrize(("form", "sigma"), [("axonal", 0.0), ("synaptic", 4.0)])
def test_two_runs_give_the_same_bits(form, sigma):
    seen = []
    for _ in range(2):
        out, grads = result("triton", made("soft", form, 4, 18, 4, sigma, dtype=torch.float32))
        seen.append([out.spikes, *out.states, *grads.values()])
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_what_it_cannot_take_is_named():
    arguments = made("soft", "axonal", 3, 1, 3, 0.0)
    with pytest.raises(EngineError, match="runs in float32 and float64, not in torch.bfloat16"):
        run_engine("triton", Request(**{k: v.bfloat16() if torch.is_tensor(v) else v for k, v in arguments.items()}))


@pytest.mark.parametrize(
    ("batch", "size", "recurrent", "said"),
    [
        (1, 46_341, True, r"N = 46,341 make 2,147,488,281 >= 2\^31"),
        (1, 46_340, True, None),
        (1, 46_341, False, None),
        (2**21, 1024, False, r"B = 2,097,152, N = 1,024 make 2,147,483,648 >= 2\^31"),
        (2**21 - 1, 1024, False, None),
    ],
)
def test_a_layer_whose_numbers_32_bits_do_not_count_is_named(batch, size, recurrent, said):
    one = torch.zeros(1, 1, 1, device=DEVICE)
    weight = {"weight": one[0].expand(size, size), "delay": one[0].expand(size, size), "width": one[0, 0, 0] + 1}
    neuron = LIF().attach(size).to(DEVICE)
    request = Request(one.expand(1, batch, size), neuron, **(weight if recurrent else {}))
    reason = ENGINE.supports(request)
    assert reason is None if said is None else re.search(said, reason)


GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.npz"))
FEW_GOLDEN = ("delrec_synaptic_triangle_hard_det0_sig0_p1", "float32")


@pytest.mark.parametrize(
    ("path", "dtype"),
    [
        pytest.param(path, dtype, marks=() if "dcls1d_" in path.stem or (path.stem, dtype) == FEW_GOLDEN else SLOW)
        for path in GOLDEN
        for dtype in ("float64", "float32")
    ],
    ids=lambda value: getattr(value, "stem", value),
)
def test_golden_files(path, dtype):
    results = check_file(path, "triton", dtype, DEVICE)
    assert results and all(result.error <= result.tolerance for result in results), results


def test_the_gradient_of_a_kernel_is_summed_in_groups_of_rows(monkeypatch):
    for programs in (1, 6, 10_000):  # one group, three rows a group, a row a group
        monkeypatch.setattr(delays, "_PROGRAMS", programs)
        delays_agree((5, 7, 2, 3, 4, 3, 0, "synaptic"), "triton", DEVICE)


@ON_A_CARD
def test_two_runs_of_feedforward_delays_give_the_same_bits():
    def run():
        x = drawn(6, 3, 32, dtype=torch.float32, zeros=0.9).to(DEVICE).requires_grad_()
        weight, position = (drawn(17, 32, dtype=torch.float32, seed=k).to(DEVICE).requires_grad_() for k in (1, 2))
        total = ENGINE.delayed_linear(x, weight, position, None, 5, 4, 0)
        return [total, *torch.autograd.grad(total.square().sum(), (x, weight, position))]

    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))


def test_layers_take_the_kernels():
    x = drawn(4, 2, 32, dtype=torch.float32, zeros=0.8).to(DEVICE)
    delayed = FeedforwardDelays(32, 3, window=4, engine="triton", device=DEVICE)(x)
    assert "delayed_linear" in delayed.grad_fn.name()
    half = FeedforwardDelays(3, 4, window=3, engine="triton", device=DEVICE, dtype=torch.bfloat16)
    assert half(torch.ones(2, 2, 3, dtype=torch.bfloat16, device=DEVICE)).dtype == torch.bfloat16


def test_weights_that_32_bits_do_not_number_are_left_to_torch():
    """The number of a weight overflowed, and another was read. No memory: the weight is one number, seen often."""
    x = torch.zeros(1, 1, 46_341, device=DEVICE)
    weight = torch.zeros(1, device=DEVICE).expand(32_768, 46_341)
    assert ENGINE.delayed_linear(x, weight[:, :32_768], weight[:1, :1], None, 5, 4, 0) is None

"""First-spike times against simulations, and their gradients against finite differences and the published forms."""

import math

import pytest
import torch
from delrec_baselines.first_spike import FirstSpikeNeuron, _doubling_sums, first_spike_times, lambert_w0
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

F64 = torch.float64
RATIOS = pytest.mark.parametrize("ratio", [2, 1])


def problem(seed: int, batch: int = 4, neurons: int = 5, inputs: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    times = 2 * torch.rand(batch, neurons, inputs, generator=generator, dtype=F64)
    return times, 0.6 + torch.randn(1, neurons, inputs, generator=generator, dtype=F64)


def membrane(grid: Tensor, times: Tensor, weight: Tensor, ratio: int) -> Tensor:
    """V over a grid of times, by the superposition of kernels; tau_s = 1, g = 1 / ratio."""
    lag = grid - times[..., None]
    return ratio * (weight[..., None] * kernel_at(lag, ratio)).sum(-2)


# --- spike times


@RATIOS
def test_spike_times_are_the_first_crossing_of_a_fine_simulation(ratio: int) -> None:
    times, weight = problem(0, batch=6)
    spikes = first_spike_times(times, weight, FirstSpikeNeuron(ratio=ratio))
    grid = torch.arange(0, 12, 1e-3, dtype=F64)
    above = membrane(grid, times, weight, ratio) >= 1
    simulated = torch.where(above.any(-1), grid[above.to(torch.uint8).argmax(-1)], math.inf)
    assert torch.equal(spikes.isinf(), simulated.isinf())
    assert 0.3 < spikes.isfinite().float().mean() < 1
    late = (simulated - spikes)[spikes.isfinite()]
    assert late.min() >= -1e-9
    assert late.max() <= 1e-3 + 1e-9


def test_closed_form_of_tau_m_twice_tau_s() -> None:
    # One input of weight w at t: T = t + 2 ln(2 w / (w + sqrt(w^2 - 2 w))), from g V = w (z - z^2), g = 1/2.
    for w in (2.5, 4.0, 30.0):
        expected = 0.3 + 2 * math.log(2 * w / (w + math.sqrt(w * w - 2 * w)))
        spike = first_spike_times(torch.tensor([[[0.3]]]), torch.tensor([[[w]]]), FirstSpikeNeuron(ratio=2))
        assert spike.item() == pytest.approx(expected, abs=1e-7)


def test_closed_form_of_tau_m_equal_to_tau_s() -> None:
    # One input of weight w at 0: w T exp(-T) = 1, T = -W0(-1/w).
    for w in (2.8, 4.0, 30.0):
        spike = first_spike_times(torch.zeros(1, 1, 1), torch.full((1, 1, 1), w, dtype=F64), FirstSpikeNeuron(ratio=1))
        assert spike.item() * math.exp(-spike.item()) * w == pytest.approx(1, abs=1e-12)
        assert spike.item() < 1  # the upward crossing


def test_published_formula_with_absolute_exponentials() -> None:
    times, weight = problem(5, batch=8)
    spikes = first_spike_times(times, weight, FirstSpikeNeuron(ratio=2))
    for b in range(times.shape[0]):
        for n in range(times.shape[1]):
            order = times[b, n].argsort()
            t, w = times[b, n, order], weight[0, n, order]
            candidates = [math.inf]
            for k in range(len(t)):
                a1, a2 = (w * t.exp())[: k + 1].sum(), (w * (t / 2).exp())[: k + 1].sum()
                root = torch.sqrt(a2 * a2 - 4 * a1 * 0.5)
                time = (2 * torch.log(2 * a1 / (a2 + root))).item()
                following = t[k + 1].item() if k + 1 < len(t) else math.inf
                if t[k].item() <= time <= following:
                    candidates.append(time)
            assert spikes[b, n].item() == pytest.approx(min(candidates), abs=1e-12)


@RATIOS
def test_no_spike_is_infinite_and_has_no_gradient(ratio: int) -> None:
    neuron = FirstSpikeNeuron(ratio=ratio)
    times = torch.tensor([[[0.1, 0.2]], [[math.inf, math.inf]], [[0.1, math.inf]]], dtype=F64, requires_grad=True)
    weight = torch.tensor([[[0.2, -5.0]]], dtype=F64, requires_grad=True)
    spikes = first_spike_times(times, weight, neuron)
    assert bool(spikes.isinf().all())
    spikes.backward(torch.ones_like(spikes))
    assert not times.grad.any()
    assert not weight.grad.any()
    assert bool(first_spike_times(times[..., :0], weight[..., :0], neuron).isinf().all())


@RATIOS
def test_an_input_that_never_came_is_as_if_it_did_not_exist(ratio: int) -> None:
    times, weight = problem(1)
    never = torch.cat([times, torch.full_like(times[..., :2], math.inf)], dim=-1)
    wide = torch.cat([weight, 3 * torch.ones_like(weight[..., :2])], dim=-1)
    neuron = FirstSpikeNeuron(ratio=ratio)
    assert torch.equal(first_spike_times(never, wide, neuron), first_spike_times(times, weight, neuron))


@RATIOS
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), shift=st.floats(-1e3, 1e3), scale=st.floats(0.1, 50))
def test_time_has_neither_origin_nor_unit(ratio: int, seed: int, shift: float, scale: float) -> None:
    times, weight = problem(seed)
    plain = first_spike_times(times, weight, FirstSpikeNeuron(ratio=ratio))
    moved = first_spike_times(scale * times + shift, weight, FirstSpikeNeuron(tau_s=scale, ratio=ratio))
    both = plain.isfinite() & moved.isfinite()
    assert int((plain.isfinite() != moved.isfinite()).sum()) == 0
    # Close to tangency a rounding of the times moves the crossing by its square root.
    torch.testing.assert_close(moved[both], scale * plain[both] + shift, rtol=1e-6, atol=1e-4)


@RATIOS
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), data=st.data())
def test_causality_and_order(ratio: int, seed: int, data: st.DataObject) -> None:
    times, weight = problem(seed)
    neuron = FirstSpikeNeuron(ratio=ratio)
    spikes = first_spike_times(times, weight, neuron)
    order = torch.tensor(data.draw(st.permutations(range(times.shape[-1]))))
    torch.testing.assert_close(first_spike_times(times[..., order], weight[..., order], neuron), spikes)
    # What arrives after a neuron has spiked changes nothing.
    later = torch.where(times > spikes[..., None], times + 5.0, times)
    assert torch.equal(first_spike_times(later, weight, neuron), spikes)


@RATIOS
def test_batch_equals_single(ratio: int) -> None:
    times, weight = problem(2, batch=9)
    neuron = FirstSpikeNeuron(ratio=ratio)
    together = first_spike_times(times, weight, neuron)
    single = torch.cat([first_spike_times(times[b : b + 1], weight, neuron) for b in range(9)])
    assert torch.equal(together, single)


@RATIOS
def test_thousands_of_events_over_hundreds_of_time_constants(ratio: int) -> None:
    # The absolute exponential of the last event would be exp(2000), prefixes kept apart 0.5 GB for each neuron.
    generator = torch.Generator().manual_seed(0)
    times = (2000 * torch.rand(2, 1, 8000, generator=generator, dtype=F64)).requires_grad_()
    slope = torch.tensor([0.0, 0.15, 0.18, 0.4, 0.8], dtype=F64)[:, None] * 2 / ratio  # inputs grow with time
    weight = slope * times.detach() / 2000 + 0.01 * torch.randn(2, 5, 8000, generator=generator, dtype=F64)
    weight.requires_grad_()
    spikes = first_spike_times(times, weight, FirstSpikeNeuron(ratio=ratio))
    assert spikes.isfinite().sum(0).tolist() == [0, 2, 2, 2, 2]
    fires = spikes.isfinite()
    assert spikes[fires].max() > 600
    lag = spikes[..., None] - times
    voltage = ratio * torch.where(fires[..., None], weight * kernel_at(lag, ratio), 0.0).sum(-1)[fires]
    torch.testing.assert_close(voltage, torch.ones_like(voltage), rtol=0, atol=1e-9)
    before = ratio * (weight[:, 4] * kernel_at(lag[:, 4] - 1e-3, ratio)).sum(-1)
    assert bool((before < 1).all())
    spikes[fires].sum().backward()
    for gradient in (times.grad, weight.grad):
        assert gradient is not None
        assert bool(gradient.isfinite().all())
        assert gradient.any()


def kernel_at(lag: Tensor, ratio: int) -> Tensor:
    lag = lag.clamp_min(0)
    return torch.exp(-lag / 2) - torch.exp(-lag) if ratio == 2 else lag * torch.exp(-lag)


@RATIOS
def test_wide_and_narrow_spans_agree(ratio: int) -> None:
    # The same weights seen by both ways of carrying the sums: directly, and through first_spike_times.
    generator = torch.Generator().manual_seed(4)
    since = torch.rand(3, 1, 300, generator=generator, dtype=F64).mul(400).sort(dim=-1).values
    weight = torch.randn(3, 4, 300, generator=generator, dtype=F64)
    first, second = _doubling_sums(weight, since, ratio)
    for k in (0, 1, 17, 299):
        lag = (since[..., k : k + 1] - since[..., : k + 1]).expand(3, 4, k + 1)
        w = weight[..., : k + 1]
        torch.testing.assert_close(first[..., k], (w * torch.exp(-lag)).sum(-1), rtol=1e-9, atol=1e-12)
        other = torch.exp(-lag / 2) if ratio == 2 else -lag * torch.exp(-lag)
        torch.testing.assert_close(second[..., k], (w * other).sum(-1), rtol=1e-9, atol=1e-12)
    neuron = FirstSpikeNeuron(ratio=ratio, threshold=2.0)
    narrow = first_spike_times(since, weight, neuron)
    far = torch.cat([since, torch.full_like(since[..., :1], 5000.0)], dim=-1)
    wide = first_spike_times(far, torch.cat([weight, torch.zeros(3, 4, 1, dtype=F64)], dim=-1), neuron)
    torch.testing.assert_close(wide, narrow, rtol=1e-9, atol=1e-9)


def test_simultaneous_arrivals_are_one_input_of_the_summed_weight() -> None:
    neuron = FirstSpikeNeuron()
    many = first_spike_times(torch.full((1, 1, 50), 0.7), torch.full((1, 1, 50), 0.1), neuron)
    one = first_spike_times(torch.full((1, 1, 1), 0.7), torch.full((1, 1, 1), 0.1).double() * 50, neuron)
    torch.testing.assert_close(many, one, rtol=0, atol=1e-6)


def test_lambert_w() -> None:
    x = torch.cat([torch.linspace(-1 / math.e, 3, 20_001, dtype=F64), torch.logspace(-12, 8, 200, dtype=F64)])
    w = lambert_w0(x)
    assert w.min() >= -1
    torch.testing.assert_close(w * torch.exp(w), x, rtol=1e-13, atol=1e-14)
    assert lambert_w0(torch.tensor(1.0, dtype=F64)).item() == pytest.approx(0.5671432904097838, abs=1e-15)
    assert lambert_w0(torch.tensor(-0.2, dtype=F64)).item() == pytest.approx(-0.2591711018190738, abs=1e-15)
    assert lambert_w0(torch.tensor(-0.4, dtype=F64)).isnan()


# --- gradients


@RATIOS
@pytest.mark.parametrize("seed", range(4))
def test_gradients_equal_central_differences(ratio: int, seed: int) -> None:
    times, weight = problem(seed)
    neuron = FirstSpikeNeuron(ratio=ratio)
    times, weight = times.requires_grad_(), weight.requires_grad_()
    spikes = first_spike_times(times, weight, neuron)
    fires = spikes.isfinite()
    mixture = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(seed), dtype=F64)

    def scalar(t: Tensor, w: Tensor) -> Tensor:
        return torch.where(fires, mixture * first_spike_times(t, w, neuron).nan_to_num(posinf=0.0), 0.0).sum()

    gradients = torch.autograd.grad(scalar(times, weight), (times, weight))
    step = 1e-6
    for which, gradient in zip((0, 1), gradients, strict=True):
        base = (times.detach(), weight.detach())
        for index in range(0, base[which].numel(), 3):
            moved = []
            for sign in (1, -1):
                changed = [base[0].clone(), base[1].clone()]
                changed[which].view(-1)[index] += sign * step
                moved.append(scalar(*changed))
            numeric = ((moved[0] - moved[1]) / (2 * step)).item()
            analytic = gradient.reshape(-1)[index].item()
            assert analytic == pytest.approx(numeric, rel=1e-6, abs=1e-7)


def test_published_backward_formula() -> None:
    times, weight = problem(7, batch=2)
    times, weight = times.requires_grad_(), weight.expand(2, -1, -1).clone().requires_grad_()
    spikes = first_spike_times(times, weight, FirstSpikeNeuron())
    fires = spikes.isfinite()
    by_time, by_weight = torch.autograd.grad(spikes[fires].sum(), (times, weight))
    with torch.no_grad():
        causal = times <= spikes[..., None]
        a1 = torch.where(causal, weight * times.exp(), 0.0).sum(-1, keepdim=True)
        a2 = torch.where(causal, weight * (times / 2).exp(), 0.0).sum(-1, keepdim=True)
        x = torch.sqrt(a2 * a2 - 4 * a1 * 0.5)
        factor = (1 + 0.5 / x * torch.exp(spikes[..., None] / 2)) * times.exp() / a1
        expected_weight = 2 * (factor - torch.exp(times / 2) / x)
        expected_time = weight * (2 * factor - torch.exp(times / 2) / x)
    used = causal & fires[..., None]
    torch.testing.assert_close(by_weight[used], expected_weight[used], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(by_time[used], expected_time[used], rtol=1e-9, atol=1e-11)
    assert not by_weight[~used].any()
    assert not by_time[~used].any()


def test_weight_gradients_that_diverge_are_dropped_for_that_sample_and_neuron_only() -> None:
    # The third sample brings the neuron close to tangency: one input of weight just over the least that fires.
    times = torch.tensor([[[0.0, 0.1]], [[0.0, 0.2]], [[0.0, math.inf]]], dtype=F64, requires_grad=True)
    weight = torch.tensor([[[2.0 + 1e-5, 1.0]]], dtype=F64, requires_grad=True)
    exact = first_spike_times(times, weight, FirstSpikeNeuron())
    assert bool(exact.isfinite().all())
    upstream = torch.full_like(exact, 0.1)
    everything, exact_to_times = torch.autograd.grad(exact, (weight, times), upstream)
    kept = first_spike_times(times, weight, FirstSpikeNeuron(), max_gradient=0.2)
    limited, to_times = torch.autograd.grad(kept, (weight, times), upstream)
    two = first_spike_times(times[:2], weight, FirstSpikeNeuron())
    (expected,) = torch.autograd.grad(two, weight, upstream[:2])
    assert everything.abs().max() > 1
    torch.testing.assert_close(limited, expected)
    assert torch.equal(to_times, exact_to_times)  # times are not limited


def test_without_events_there_is_no_spike_and_no_gradient_whatever_the_limit() -> None:
    weight = torch.ones(1, 3, 0, dtype=torch.float64, requires_grad=True)
    times = first_spike_times(torch.empty(2, 1, 0, dtype=torch.float64), weight, FirstSpikeNeuron(), 0.2)
    assert times.isinf().all()
    times.clamp_max(1.0).sum().backward()
    assert weight.grad.shape == (1, 3, 0)

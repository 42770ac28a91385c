"""Faults that were seen, by name: none of them is silent, and none gives a raw error."""

import warnings
from functools import partial
from unittest.mock import Mock

import delrec
import problems
import pytest
import torch
from delrec import LIF, DelayInit, EngineError, FeedforwardDelays, RecurrentDelays, SpikeLinear, SpikingLayer, State
from delrec import engines as interface
from delrec.delays import triangle_kernel
from delrec.engines import engine_for, triton
from delrec.training import count_parameters
from problems import ENGINES
from torch.autograd import forward_ad
from torch.nn.utils import prune

layer, current = (partial(made, dtype=torch.float32) for made in (problems.layer, problems.current))


def test_delays_do_not_follow_a_default_dtype_below_float32():
    torch.set_default_dtype(torch.bfloat16)
    try:
        neuron = LIF(learn_tau="neuron")
        made, delayed = RecurrentDelays(4, neuron=neuron, learn_spread=True), FeedforwardDelays(6, 4, window=301)
    finally:
        torch.set_default_dtype(torch.float32)
    exact = (made.delay, made.spread, made.sigma, neuron.log_tau, delayed.position, delayed.spread)
    assert {t.dtype for t in exact} == {torch.float32}
    assert made.weight.dtype == delayed.weight.dtype == torch.bfloat16


def test_delays_do_not_follow_a_dtype_below_float32():
    made = layer(delay_init=DelayInit("constant", low=300.4), sigma=0.0).bfloat16()
    assert made.delay.dtype == made.sigma.dtype == torch.float32 and made.weight.dtype == torch.bfloat16
    taps = triangle_kernel(made.delays(), made.half_width(), 304)[0]
    torch.testing.assert_close(taps[taps > 0], torch.tensor([0.6, 0.4]), atol=1e-4, rtol=0)
    near = layer(delay_init=DelayInit("constant", low=20.3)).to("cpu", torch.float16)
    assert near.delays()[0].item() == pytest.approx(20.3)
    near(current().half()).sum().backward()
    assert near.delay.grad.dtype == torch.float32
    near.bfloat16()  # the gradient moves with it
    assert near.delay.grad.dtype == torch.float32 and near.weight.grad.dtype == torch.bfloat16
    assert made.double().delay.dtype == torch.float64


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_layer_below_float32_computes_in_float32(engine, dtype):
    made, x = layer(engine=engine), current().to(dtype)
    out = made(x, return_state=True, return_membrane=True)
    exact = made(x.float(), return_state=True)
    assert out.spikes.dtype == out.membrane.dtype == dtype and out.state.states[0].dtype == torch.float32
    assert torch.equal(out.spikes.float(), exact.spikes)
    assert torch.equal(out.state.states[0], exact.state.states[0])


BETWEEN = [lambda e: FeedforwardDelays(6, 4, window=7, engine=e), lambda e: SpikeLinear(6, 4, engine=e)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", BETWEEN)
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.int8])
def test_whole_numbers_and_booleans_are_numbers(engine, make, dtype):
    made, spikes = make(engine), current() > 1.4
    assert spikes.any()
    assert torch.equal(made(spikes.to(dtype)), made(spikes.float()))


@pytest.mark.parametrize("make", BETWEEN)
@pytest.mark.parametrize("level", [0.05, 1.5])
def test_the_dtype_under_autocast_does_not_depend_on_the_data(make, level):
    spikes = (current() < level).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert make("auto")(spikes).dtype == torch.bfloat16
        inside = layer()(spikes)
    assert inside.dtype == torch.float32 and torch.equal(inside, layer()(spikes)), "the scan is exact"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_state_is_no_view_of_the_outputs(engine):
    made, x = layer(engine=engine), current()
    expected = made(x)[9:]
    with torch.no_grad():
        out = made(x[:9], return_state=True, return_membrane=True)
        out.spikes.zero_()
        out.membrane.zero_()
        assert torch.equal(made(x[9:], out.state), expected)
        assert out.state.history.sum() > 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_an_error_that_names_it(engine, bad):
    def refuses(made, said, x):
        with pytest.raises(ValueError, match=said):
            made(x)

    wrong = current()
    wrong[3, 1, 2] = bad
    for made in (layer(engine=engine), SpikingLayer(6, engine=engine)):
        refuses(made, "current holds NaN or infinity", wrong)
    for name in ("delay", "spread"):
        made = layer(engine=engine, learn_spread=True)
        getattr(made, name).data[1] = bad
        refuses(made, f"{name} holds NaN or infinity", current())
    made = layer(engine=engine)
    made.sigma.fill_(bad)
    refuses(made, f"sigma = {bad}", current())
    made = layer(engine=engine)
    made.weight.data[0, 0] = bad  # also where its sender is silent: an engine that skips zeros would not meet it
    refuses(made, "weight holds NaN or infinity", torch.zeros(9, 2, 6))
    delayed = FeedforwardDelays(6, 4, window=7, engine=engine)
    delayed.position.data[0, 1, 2] = bad
    refuses(delayed, "position holds NaN", few())
    made = layer(engine=engine)
    refuses(made, "current holds NaN or infinity", wrong.as_subclass(type("Own", (torch.Tensor,), {})))
    large = torch.full((3, 2, 6), 2e38)
    SpikingLayer(6, neuron=LIF(tau=1.0), engine=engine)(large)  # finite, though its sum is not


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (0, 0), (1, 1)])
@pytest.mark.parametrize("make", [lambda e: layer(engine=e), lambda e: SpikingLayer(6, engine=e)])
def test_no_steps_and_no_samples(engine, shape, make):
    made, x = make(engine), torch.rand(*shape, 6)
    out = made(x, return_state=True, return_membrane=True)
    assert out.spikes.shape == out.membrane.shape == (*shape, 6)
    assert isinstance(out.state, State) and out.state.states[0].shape == (shape[1], 6)
    assert made(x, out.state, lengths=[shape[0]] * shape[1]).shape == (*shape, 6)
    with torch.no_grad():
        after = made(torch.rand(2, shape[1], 6), out.state)
    assert after.shape == (2, shape[1], 6)


def few(steps=20, dtype=torch.float32):
    return (torch.rand(steps, 2, 6, generator=torch.Generator().manual_seed(2)) < 0.2).to(dtype)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kernel", ["v1", "gauss"])
@pytest.mark.parametrize(("pushed", "used"), [(9.0, 3.0), (-9.0, -3.0)])
def test_positions_pushed_out_of_the_window_are_at_its_edge(engine, pushed, used, kernel):
    made = FeedforwardDelays(6, 4, window=7, kernel=kernel, engine=engine, dtype=torch.float64)
    made.position.data.fill_(used)
    edge = made(few(dtype=torch.float64))
    edge.abs().sum().backward()
    at_edge = made.position.grad.clone()
    made.position.grad = None
    made.position.data.fill_(pushed)
    out = made(few(dtype=torch.float64))
    assert torch.equal(out, edge)
    out.abs().sum().backward()
    leads_back = (at_edge > 0) == (pushed > 0)
    assert torch.equal(made.position.grad, torch.where(leads_back, at_edge, 0))
    assert kernel == "v1" or made.position.grad.abs().max() > 0  # at a whole position v1's is 0, as published


@pytest.mark.parametrize("delays", ["axonal", "synaptic"])
@pytest.mark.parametrize("engine", ENGINES)
def test_delays_far_beyond_the_sequence_are_silence(engine, delays):
    made = layer(engine=engine, delays=delays)
    made.delay.data.fill_(1e12)  # the reference asked for as many taps
    alone = SpikingLayer(6, engine=engine)(current())
    assert torch.equal(made(current()), alone) and alone.sum() > 0


def test_float64_under_autocast_stays_as_in_torch():
    with torch.autocast("cpu", torch.bfloat16):
        assert FeedforwardDelays(6, 4, window=3, dtype=torch.float64)(few(dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_transforms_of_torch_func_are_refused_by_name(engine):
    layer, x = RecurrentDelays(4, engine=engine), torch.rand(5, 2, 4)
    parameters = {name: value.detach() for name, value in layer.named_parameters()}
    with pytest.raises(NotImplementedError, match="torch.func"):
        torch.func.grad(lambda p: torch.func.functional_call(layer, p, (x,)).sum())(parameters)
    with pytest.raises(NotImplementedError, match="torch.func"):
        torch.func.vmap(layer, in_dims=1)(x.unsqueeze(2))
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="forward-mode"):
        layer.requires_grad_(False)(forward_ad.make_dual(x, torch.ones_like(x)))


@pytest.mark.parametrize("make", BETWEEN)
def test_a_frozen_map_has_the_forward_mode_derivative(make):
    """The tangent was dropped without a word."""
    frozen, x = make("cpu").requires_grad_(False), torch.rand(8, 2, 6)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(frozen(forward_ad.make_dual(x, torch.ones_like(x)))).tangent
    torch.testing.assert_close(tangent, frozen(x + 1) - frozen(x), atol=1e-4, rtol=1e-4)


def test_a_delay_with_a_parametrization_is_a_delay_that_cannot_be_rounded():
    made = RecurrentDelays(6)
    torch.nn.utils.parametrize.register_parametrization(made, "delay", torch.nn.Identity())
    assert count_parameters(made)["delays"] == 6
    soft = RecurrentDelays(6, learn_spread=True, delay_init=DelayInit("constant", low=300.4))
    for name in ("delay", "spread"):
        torch.nn.utils.parametrize.register_parametrization(soft, name, torch.nn.Softplus())
    assert count_parameters(soft)["spreads"] == count_parameters(soft)["learned_delays"] == 6
    assert soft.bfloat16().delay.dtype == torch.float32, "in bfloat16 a delay of 300.4 steps is 300"
    with pytest.raises(NotImplementedError, match="delay has a parametrization"), made.deployed():
        pass
    pruned = prune.identity(RecurrentDelays(6), "delay")  # it was made anew in each call, not rounded
    assert count_parameters(pruned)["delays"] == 6
    assert pruned.bfloat16().delay_orig.dtype == torch.float32
    weighed = torch.nn.Linear(2, 2)
    weighed.delay_orig = torch.nn.Parameter(torch.ones(3))  # of a user, and no delay that was pruned
    assert count_parameters(weighed)["delays"] == 0
    with pytest.raises(NotImplementedError, match="delay has a parametrization or is pruned"), pruned.deployed():
        pass
    made.rounding = "none"
    other = RecurrentDelays(6, learn_spread=True)
    torch.nn.utils.parametrize.register_parametrization(other, "spread", torch.nn.Identity())
    for each in (made, other):  # nothing of these is rounded that has a parametrization
        with each.deployed():
            assert each(current()).any()


def test_a_sparse_linear_map_under_vmap_is_torchs_own():
    layer, x = SpikeLinear(4, 3), (torch.rand(6, 5, 2, 4) < 0.1).float()
    torch.testing.assert_close(torch.func.vmap(layer)(x), layer(x.flatten(0, 1)).view(6, 5, 2, 3))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_jit_trace_runs_on_the_reference_or_is_refused_never_a_compilers_traceback():
    x = torch.rand(5, 2, 4) * 3
    with pytest.raises(EngineError, match="torch.export"):
        torch.jit.trace(RecurrentDelays(4, engine="cpu").eval(), x)
    for traced in (SpikeLinear(4, 3), FeedforwardDelays(4, 3, window=4), RecurrentDelays(4, max_delay=9)):
        torch.testing.assert_close(torch.jit.trace(traced, x)(x), traced(x))


def test_a_cuda_tensor_without_triton_gets_the_reference_and_one_warning(monkeypatch):
    monkeypatch.setitem(interface._AUTO, "cpu", "triton")  # what CUDA tensors get, on tensors that are here
    assert engine_for("auto", "cuda")[0].name == "triton"
    monkeypatch.setattr(triton.ENGINE, "broken", "needs triton: install delrec[triton]")
    monkeypatch.setattr(interface, "_warned", set())
    made, x = layer(engine="auto"), current()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(2):
            made(x)
    assert made.engine_used == "reference"
    assert len(seen) == 1 and "install delrec[triton]" in str(seen[0].message)
    assert seen[0].filename == __file__, "the line of the program, not of torch"


def test_a_cpu_tensor_outside_of_tritons_interpreter_is_refused(monkeypatch):
    monkeypatch.setattr(triton.ENGINE, "broken", None)
    monkeypatch.setattr(triton, "INTERPRETED", False, raising=False)
    with pytest.raises(EngineError, match="on CPU tensors where TRITON_INTERPRET=1 was set before"):
        layer(engine="triton")(current())


class StartsElsewhere(LIF):
    """Its initial state is learned."""

    def coefficients(self):
        return 0.5, 1.0, 0.0

    def initial(self):
        return (self.log_tau,)


@pytest.mark.parametrize(
    ("make", "name", "shape"),
    [
        (lambda: SpikeLinear(6, 4, engine="cpu"), "weight", (4, 3)),
        (lambda: SpikeLinear(6, 4, engine="cpu"), "bias", (3,)),
        (lambda: FeedforwardDelays(6, 4, window=7, engine="cpu"), "weight", (4, 3, 1)),
        (lambda: FeedforwardDelays(6, 4, window=7, kernel="gauss", bias=True, engine="cpu"), "bias", (3,)),
        *((lambda: RecurrentDelays(6, engine="cpu"), "weight", shape) for shape in ((3, 3), (6,), (6, 1))),
        *((lambda: RecurrentDelays(6, engine="cpu"), "delay", shape) for shape in ((3,), (), (6, 3))),
        (lambda: RecurrentDelays(6, engine="reference"), "weight", (1, 6)),  # which it broadcast
        (lambda: RecurrentDelays(6, engine="reference", self_connections=False), "weight", (1, 6)),
        (lambda: RecurrentDelays(6, engine="reference"), "delay", (1,)),
        (lambda: SpikingLayer(6, neuron=LIF(learn_tau="neuron"), engine="cpu"), "log_tau", (3,)),
        (lambda: SpikingLayer(6, neuron=LIF(learn_tau="neuron"), engine="cpu"), "log_tau", (6, 1)),  # flattened
        (lambda: SpikingLayer(6, neuron=LIF(learn_tau="neuron"), engine="reference"), "log_tau", (6, 1)),
        (lambda: SpikingLayer(6, neuron=StartsElsewhere(learn_tau="neuron"), engine="reference"), "log_tau", (6, 1)),
    ],
)
def test_a_parameter_that_was_replaced_by_one_of_another_shape_is_an_error(make, name, shape):
    """A kernel read beyond its end: other numbers, or a segmentation fault."""
    made = make()
    setattr(made.neuron if name == "log_tau" else made, name, torch.nn.Parameter(torch.ones(shape)))
    with pytest.raises((ValueError, RuntimeError), match="size|shape|neurons|expected|must be"):
        made(current(batch=6))  # as many as neurons: a column would be taken for a value per sample


def test_a_compiled_scan_refuses_what_the_eager_one_does():
    """Nothing was looked at while torch.compile traced: a state of one row was taken for one of every row."""
    made, x = RecurrentDelays(3, engine="reference"), torch.rand(4, 2, 3)
    state = interface.rest_state(made.neuron, x[0, :1])
    compiled = torch.compile(lambda x: made(x, state), backend="eager")
    with pytest.raises(Exception, match="batch 2 and 3 neurons"):
        compiled(x)


def test_a_layer_is_compiled_whole_with_sizes_that_may_change():
    torch._dynamo.reset()
    made = RecurrentDelays(3, engine="reference", max_delay=2)
    compiled = torch.compile(made, backend="eager", fullgraph=True)
    for batch in (2, 5):
        x, lengths = torch.rand(4, batch, 3), torch.full((batch,), 3)
        assert torch.equal(compiled(x, lengths=lengths), made(x, lengths=lengths))
        state = made(x[:2], return_state=True).state  # of few steps: none of them was dropped
        assert torch.equal(compiled(x, state), made(x, state))


def test_layers_without_a_recurrent_current_have_shapes_on_the_meta_device():
    """torch knows no autocast of that device, and raised."""
    with torch.device("meta"):
        layers, x = [SpikingLayer(6), *(make("auto") for make in BETWEEN)], torch.empty(7, 2, 6)
    assert [made(x).shape for made in layers] == [(7, 2, 6), (7, 2, 4), (7, 2, 4)]


def test_what_the_last_batch_held_is_told_when_asked():
    layer = RecurrentDelays(3)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), layer)
    delrec.check_finite(model)
    for finite in (True, False):
        event = Mock()
        event.query = lambda event=event: event.synchronize.called  # its flag is there once it is waited for
        layer._watch._pending.append((event, torch.tensor(finite), "current holds NaN"))
    layer._watch._read()
    with pytest.raises(delrec.NotFiniteError, match=r"current holds NaN \(found in an earlier call\)"):
        delrec.check_finite(model)
    delrec.check_finite(model)  # told once


@pytest.mark.skipif(not hasattr(torch.Tag, "cudagraph_unsafe"), reason="this torch has no such mark")
def test_operators_that_look_at_values_are_left_out_of_cuda_graphs():
    assert engine_for("cpu", "cpu")  # operators are registered
    for operator in (torch.ops.delrec.cpu_scan, torch.ops.delrec.cpu_scan_backward):
        assert torch.Tag.cudagraph_unsafe in operator.default.tags


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_where_triton_cannot_launch_the_engine_says_so_and_does_not_fail():
    engine = pytest.importorskip("delrec.engines.triton")
    assert "cannot be launched by triton" in engine._no_launch()

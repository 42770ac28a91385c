"""A compiled engine's scan, whatever is asked of it: in pieces, in segments, of strided numbers, of an edited rule."""

import importlib.util

import pytest
import torch
from delrec.engines import Request
from delrec.engines.segments import scan_in_segments
from problems import COMPILED_ON, F64, difference, leaves, problem, run

COMPILED = pytest.mark.parametrize(("engine", "device"), COMPILED_ON)


@COMPILED
def test_non_contiguous_input(engine, device):
    arguments = problem("soft", "axonal", 7, 4, 5, 1.0, device=device)
    plain = run(engine, **arguments).spikes
    arguments["current"] = arguments["current"].detach().permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert not arguments["current"].is_contiguous()
    assert torch.equal(run(engine, **arguments).spikes, plain)


@COMPILED
@pytest.mark.parametrize("form", ["axonal", "synaptic"])
def test_pieces_equal_the_whole(form, engine, device):
    arguments = problem("soft", form, 8, 2, 4, 1.0, device=device)
    whole = run(engine, **arguments)
    current, state, pieces = arguments.pop("current"), None, []
    for begin, end in ((0, 1), (1, 5), (5, 8)):
        out = run(engine, current=current[begin:end], state=state, **arguments)
        state = out.final
        pieces.append(out.spikes)
    assert torch.equal(torch.cat(pieces), whole.spikes)
    (a,) = torch.autograd.grad(torch.cat(pieces).sum(), arguments["weight"])
    (b,) = torch.autograd.grad(whole.spikes.sum(), arguments["weight"])
    assert difference(a, b) < 1e-9


@COMPILED
@pytest.mark.parametrize("form", ["none", "axonal"])
def test_segments_run_again_give_the_same_gradients(form, engine, device):
    mask = "step" if form != "none" else None
    arguments = problem("soft", form, 10, 2, 5, 2.0, mask=mask, device=device)
    whole = run(engine, **arguments)
    pieces = scan_in_segments(engine, Request(**arguments), segment=4)
    assert torch.equal(pieces.spikes, whole.spikes)
    weights = torch.randn(whole.spikes.shape, generator=torch.Generator().manual_seed(1), dtype=F64).to(device)
    wanted = leaves(arguments)
    a, b = (
        torch.autograd.grad((o.spikes * weights).sum(), list(wanted.values()), allow_unused=True)
        for o in (pieces, whole)
    )
    for name, mine, yours in zip(wanted, a, b, strict=True):
        assert difference(mine, yours) < 1e-9, name


RULES = """
from delrec import LIF

class Leaky(LIF):
    def step(self, current, state, coefficients):
        return super().step({gain} * current, state, coefficients)
"""


@COMPILED
def test_an_edited_step_is_seen(tmp_path, engine, device):
    """A compiler's cache alone would run the old rule: numba's does not notice that another file was edited."""
    current = torch.full((5, 1, 3), 0.3, dtype=F64, device=device)
    membranes = []
    for j, gain in enumerate((1.0, 2.0)):
        path = tmp_path / f"rules{j}.py"
        path.write_text(RULES.format(gain=gain))
        spec = importlib.util.spec_from_file_location(f"rules{j}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        neuron = module.Leaky().attach(3).to(device)
        membranes.append(run(engine, current=current, neuron=neuron).states[0][0, 0, 0])
    assert [float(m) for m in membranes] == [0.3, 0.6]

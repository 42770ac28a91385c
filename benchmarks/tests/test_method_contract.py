"""What every method must do, whoever wrote it: generated for each method that is found.

The usual tier takes each method on one task, and each task with one method; formants-35, which takes long to make, is
left to the slow tests. The whole product is `nox -s tests -- --all` (the variable DELREC_BENCH_ALL). Methods and tasks
of DELREC_BENCH_METHODS and DELREC_BENCH_TASKS are tested as well.
"""

import io
import os
from functools import cache
from typing import Any

import pytest
import torch
from delrec import count_parameters
from delrec.training import grouped
from delrec_bench.config import Request, Resolved, resolve
from delrec_bench.config.resolving import counted
from delrec_bench.methods.method import find_methods
from delrec_bench.networks import Network
from delrec_bench.runs import perform
from delrec_bench.tasks.task import find_tasks
from delrec_bench.training import build
from delrec_bench.workspace import workspace_at

WHOLE = bool(os.environ.get("DELREC_BENCH_ALL"))
METHODS = find_methods(filter(None, os.environ.get("DELREC_BENCH_METHODS", "").split(os.pathsep)))
TASKS = find_tasks(filter(None, os.environ.get("DELREC_BENCH_TASKS", "").split(os.pathsep)))
HERE = {name: task for name, task in TASKS.items() if task.embedded}
HOME, LONG = "digits", "formants-35"


def applicable(method: str, task: str) -> bool:
    return METHODS[method].applicable(TASKS[task]) is None


def home_of(method: str) -> str:
    """The task that a method is tested on: digits, or the first embedded one that it applies to."""
    return next(task for task in (HOME, *HERE) if applicable(method, task))


def usual(method: str) -> bool:
    """Not one of the many products of a neuron and a kind of delays, whose factors are tested anyway."""
    product = method.endswith("-fixed") or METHODS[method].family == "adaptive neurons with delays"
    return METHODS[method].board or not product


def tried(method: str, *more: str) -> Any:
    slow = not usual(method) or (LONG in more and not WHOLE)
    return pytest.param(method, *more, marks=pytest.mark.slow if slow else ())


PAIRS = [
    (method, task)
    for method in METHODS
    for task in HERE
    if applicable(method, task) and (WHOLE or task == home_of(method) or method == "delrec-axonal")
]
NETWORKS = [tried(*pair) for pair in PAIRS if METHODS[pair[0]].build is not None]


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    return workspace_at(tmp_path_factory.mktemp("workspace"))


@cache
def prepared(
    method: str, task: str, workspace, dtype: str = "float64", engine: str = "reference", epochs: int = 1
) -> Resolved:
    overrides: list[tuple[str, object]] = [("task.test_limit", 20)]
    if METHODS[method].build is not None:
        overrides += [("network.hidden", [6, 5]), ("training.batch", 16), ("dtype", dtype)]
    request = Request(method, task, epochs=epochs, limit=32, engine=engine, overrides=tuple(overrides))
    return resolve(request, METHODS, TASKS, workspace)


def first_batch(ready: Resolved, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    indices = torch.arange(count)
    dtype = torch.float64 if ready.dtype == "float64" else torch.float32
    return ready.data.train.batch(indices).to(dtype), ready.data.train.targets[indices]


@pytest.mark.parametrize("name", METHODS)
def test_it_says_what_it_is(name):
    method = METHODS[name]
    assert [other.name for other in METHODS.values() if other.called == method.called] == [name]
    assert "\n" not in method.summary
    assert method.control is None or METHODS[method.control].kind == "run"
    if method.build is not None:
        assert "hidden" in method.settings, "widths are called hidden, so that any method takes a budget"


@pytest.mark.parametrize(("method", "task"), NETWORKS)
def test_it_builds_counts_and_runs_forward_and_backward(method, task, workspace):
    ready = prepared(method, task, workspace)
    model = build(ready)
    counts = count_parameters(model)
    parameters = list(model.parameters())
    assert counts["total"] == sum(p.numel() for p in parameters)
    assert counts["trainable"] == sum(p.numel() for p in parameters if p.requires_grad)
    assert counts["weights"] + counts["delays"] + counts["neuron"] == counts["total"]
    trained = [p for group in grouped(model, trainable=True).values() for p in group]
    assert {id(p) for p in trained} == {id(p) for p in parameters if p.requires_grad}
    inputs, targets = first_batch(ready)
    model.train()
    model.begin_epoch(0, 10)
    scores = model.classify(inputs)
    assert scores.shape == (4, ready.data.classes)
    loss = model.loss(scores, targets) + model.penalty()
    loss.backward()
    assert torch.isfinite(loss)
    gradients = [p.grad for p in trained if p.grad is not None]
    # DelGrad's are those of spikes, of which six neurons may have none: the loss then reaches no parameter at all.
    assert len(gradients) == len(trained) or (method.startswith("delgrad") and not gradients), "reaches them all"
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


@pytest.mark.parametrize("method", [tried(name) for name, method in METHODS.items() if method.build is not None])
def test_it_takes_a_budget_of_parameters(method, workspace):
    """Its widths decide its size: `solve_width` takes the widest network within the budget."""
    ready = prepared(method, home_of(method), workspace)
    settings = {**ready.configuration["network"], "engine": "reference"}
    shape = ready.data.channels, ready.data.classes
    few, more = (counted(METHODS[method], settings | {"hidden": [n, n]}, *shape) for n in (6, 7))
    assert few < more


@pytest.mark.parametrize(("method", "task"), NETWORKS)
def test_it_evaluates_the_same_again_by_sample_after_loading_and_by_the_fast_engine(method, task, workspace):
    """Nothing is carried from batch to batch, and a sample's score does not depend on its batch."""
    ready = prepared(method, task, workspace)
    model, other = build(ready), build(ready)
    inputs, _ = first_batch(ready)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stored = io.BytesIO()
    torch.save(before, stored)
    stored.seek(0)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(torch.load(stored, weights_only=True))
    model.eval()
    with torch.no_grad(), model.deployed():
        first, again = model.classify(inputs), model.classify(inputs)
        alone = torch.cat([model.classify(inputs[:, i : i + 1]) for i in range(inputs.shape[1])])
        for delay in model.delays().values() if isinstance(model, Network) else ():  # others may live in real time
            assert torch.equal(delay, delay.round())
    with torch.no_grad(), other.deployed():
        assert torch.equal(other.classify(inputs), first)
    assert torch.equal(first, again)
    torch.testing.assert_close(alone, first, rtol=1e-9, atol=1e-9)
    fast = build(prepared(method, task, workspace, engine="auto"))
    with torch.no_grad(), fast.deployed():
        torch.testing.assert_close(fast.classify(inputs), first, rtol=1e-9, atol=1e-9)
    in_place = getattr(getattr(model, "config", None), "rounding", "") == "in-place"
    after = model.state_dict()
    assert in_place or all(torch.equal(value, after[name]) for name, value in before.items())


def cut_short(_: dict[str, Any]) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("without_fingerprint")
@pytest.mark.parametrize(("method", "task"), [tried(*pair) for pair in PAIRS])
def test_a_whole_run_gives_a_record_and_cut_short_and_resumed_the_same(method, task, workspace, tmp_path):
    ready, elsewhere = prepared(method, task, workspace, dtype="float32", epochs=2), workspace_at(tmp_path)
    first = perform(ready, workspace)
    if METHODS[method].build is not None:
        with pytest.raises(KeyboardInterrupt):
            perform(ready, elsewhere, cut_short)
    again = perform(ready, elsewhere)
    assert again[0].measured.get("resumed_after", [1]) == [1]
    assert perform(ready, workspace)[1]
    assert not again[1]
    assert first[0].content == again[0].content
    record = first[0]
    assert len(record.predictions) == len(ready.data.test)
    assert record.kind == METHODS[method].kind

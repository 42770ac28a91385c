"""NIR graphs run by their own equations, step by step: what a file that was written is held against."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from delrec_bench.errors import BenchError

Arrays = dict[str, np.ndarray]


def run_nir(graph: Any, inputs: np.ndarray) -> Arrays:
    """Run a graph of Affine, Linear, Delay, LIF and LI by Euler, in the number type of the inputs.

    Args:
        graph: As `nir.read` gives it; its metadata, or 1 ms, says how long a step is.
        inputs: (T, B, inputs).

    Returns:
        Sequences (T, B, N) by node: spikes, membranes of integrators, currents.

    Raises:
        BenchError: It has a node of another kind, or a loop without a neuron in it.
    """
    step = float(graph.metadata.get("dt", 1e-3))
    number = inputs.dtype.type
    loops = set(_loop_edges(graph))
    order = _order(graph, loops)
    batch = inputs.shape[1]
    out: Arrays = {}
    for name in order:
        out[name] = np.zeros((len(inputs), batch, _size(graph.nodes[name])), number)
    state = {name: np.zeros(out[name].shape[1:], number) for name in order}
    for name in order:
        if type(graph.nodes[name]).__name__ in ("LIF", "LI"):
            start = getattr(graph.nodes[name], "v_reset", graph.nodes[name].v_leak)
            state[name] = state[name] + start.astype(number)
    for t in range(len(inputs)):
        for name in order:
            current = inputs[t] if name == "input" else 0
            for source, target in graph.edges:
                if target != name:
                    continue
                at = t - 1 if (source, target) in loops else t
                current = current + (out[source][at] if at >= 0 else 0 * out[source][0])
            out[name][t] = _stepped(graph.nodes[name], current, state, name, out[name], t, step)
    return out


def _stepped(
    node: Any, current: Any, state: dict[str, np.ndarray], name: str, own: np.ndarray, t: int, step: float
) -> Any:
    """What a node gives at step t."""
    number, kind = own.dtype.type, type(node).__name__
    if kind in ("Input", "Output"):
        return current
    if kind in ("Affine", "Linear"):
        product = current @ node.weight.astype(number).T
        return product + node.bias.astype(number) if kind == "Affine" else product
    if kind == "Delay":
        steps = np.rint(node.delay / step).astype(int)
        history = state.setdefault(f"{name} heard", np.zeros((int(steps.max()) + 1, *current.shape), number))
        history[t % len(history)] = current
        return history[(t - steps) % len(history), :, np.arange(len(steps))].T
    rate = (step / node.tau).astype(number)
    v = state[name] + rate * ((node.v_leak.astype(number) - state[name]) + node.r.astype(number) * current)
    if kind == "LI":
        state[name] = v
        return v
    spikes = v > node.v_threshold.astype(number)
    state[name] = np.where(spikes, node.v_reset.astype(number), v)
    return spikes


def _size(node: Any) -> int:
    return int(np.prod(next(iter(node.output_type.values()))))


def _loop_edges(graph: Any) -> Iterator[tuple[str, str]]:
    """The edges into a neuron that its own spikes come back by."""
    after: dict[str, set[str]] = {name: set() for name in graph.nodes}
    for source, target in graph.edges:
        after[source].add(target)
    for source, target in graph.edges:
        if type(graph.nodes[target]).__name__ not in ("LIF", "LI"):
            continue
        seen, todo = {target}, [target]
        while todo:
            new = after[todo.pop()] - seen
            seen |= new
            todo += new
        if source in seen:
            yield source, target


def _order(graph: Any, loops: set[tuple[str, str]]) -> list[str]:
    """The nodes so that each comes after what it hears in the same step."""
    known = ("Input", "Output", "Affine", "Linear", "Delay", "LIF", "LI")
    for name, node in graph.nodes.items():
        if type(node).__name__ not in known:
            raise BenchError(f"node '{name}' is a {type(node).__name__}; this runs {', '.join(known)}")
    before = {name: {s for s, t in graph.edges if t == name and (s, t) not in loops} for name in graph.nodes}
    order: list[str] = []
    while before:
        ready = sorted(name for name, of in before.items() if not of - set(order))
        if not ready:
            raise BenchError(f"the graph loops without a neuron in it, among {', '.join(sorted(before)[:4])}")
        order += ready
        before = {name: of for name, of in before.items() if name not in ready}
    return order

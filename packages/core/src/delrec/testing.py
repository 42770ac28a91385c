"""A check for authors of neurons and surrogates: the compiled neuron against autograd."""

import torch
from torch import Tensor

from delrec.engines import Request, run
from delrec.neurons import Neuron


def check_rules(neuron: Neuron, *, engine: str = "cpu") -> None:
    """Compare spikes, states and gradients of a compiled neuron with the reference engine's, in float64.

    Spikes must be equal, and |a - b| / max(1, max |b|) at most 1e-9. neuron: a new one is attached to a layer of 5
    neurons; it is left in float64. Raises EngineError if the engine cannot compile the neuron, AssertionError naming a
    result that differs.
    """
    if neuron.size is None:
        neuron.attach(5)
    neuron.double()
    draw = torch.Generator().manual_seed(0)
    current = 2 * torch.randn(8, 16, neuron.size or 5, generator=draw, dtype=torch.float64) + 1
    leaves = {"the current": current.requires_grad_()}
    leaves |= {name: parameter for name, parameter in neuron.named_parameters() if parameter.requires_grad}

    def results(name: str) -> dict[str, Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # random states at the start are drawn alike
            out = run(name, Request(current=current, neuron=neuron, trace=True))
        values = {"spikes": out.spikes} | dict(zip(neuron.states, out.states, strict=True))
        pull = torch.Generator().manual_seed(1)
        pulls = [torch.randn(v.shape, generator=pull, dtype=v.dtype) for v in values.values()]
        pulled = [(v, p) for v, p in zip(values.values(), pulls, strict=True) if v.requires_grad]
        outputs, weights = zip(*pulled, strict=True)
        grads = torch.autograd.grad(outputs, list(leaves.values()), weights, materialize_grads=True)
        values |= {f"the gradient to {leaf}": grad for leaf, grad in zip(leaves, grads, strict=True)}
        return {name: value.detach() for name, value in values.items()}

    wanted = results("reference")
    for name, found in results(engine).items():
        error = float((found - wanted[name]).abs().max() / wanted[name].abs().max().clamp(min=1))
        if not error <= (0 if name == "spikes" else 1e-9):
            raise AssertionError(f"{name} on the {engine} engine differs from the reference by {error:.3g}")

"""Rules, the equations of neurons and surrogates: read, differentiated, written out for tensors and for kernels.

The way of a rule: a Python function -> `reader` -> a graph (`graph`) -> `derive` (its adjoint) -> `emit` (text for a
backend). `neuron` puts together what an engine needs of one neuron. This stands below neurons and engines: neurons
run their rules on tensors through it, engines compile what it writes.
"""

from delrec.rules.emit import NUMBA, TRITON, Emitter, on_tensors, tensor_function
from delrec.rules.neuron import SMALLEST_GAIN, NeuronRules, neuron_rules
from delrec.rules.reader import Rule, RuleError, read

__all__ = [
    "NUMBA",
    "SMALLEST_GAIN",
    "TRITON",
    "Emitter",
    "NeuronRules",
    "Rule",
    "RuleError",
    "neuron_rules",
    "on_tensors",
    "read",
    "tensor_function",
]

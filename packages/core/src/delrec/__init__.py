"""Learned delays for recurrent and feedforward spiking layers, in PyTorch.

`RecurrentDelays` (DelRec) and `FeedforwardDelays` (DCLS) work with any neuron model and inside any PyTorch model.
`python -m delrec.verify` checks an engine against golden vectors of the published implementations.
"""

from typing import TYPE_CHECKING, Any

from delrec.checks import NotFiniteError, check_finite
from delrec.delays import DelayInit
from delrec.engines import EngineError, State
from delrec.engines.threads import flush_denormals
from delrec.feedforward import FeedforwardDelays
from delrec.layer import deployed
from delrec.linear import BatchNorm, SpikeLinear
from delrec.neurons import LIF, Neuron
from delrec.recurrent import RecurrentDelays
from delrec.spiking import SpikingLayer
from delrec.stateful import Stateful
from delrec.surrogates import ATan, Boxcar, FastSigmoid, MultiGaussian, Slayer, Surrogate, Triangle, make_surrogate
from delrec.training import SigmaSchedule, Trainable, count_parameters, parameter_groups

if TYPE_CHECKING:
    from delrec.engines.events.network import EventNetwork

__version__ = "0.1.0"

__all__ = [
    "LIF", "ATan", "BatchNorm", "Boxcar", "DelayInit", "EngineError", "EventNetwork", "FastSigmoid",
    "FeedforwardDelays", "MultiGaussian", "Neuron", "NotFiniteError", "RecurrentDelays", "SigmaSchedule", "Slayer",
    "SpikeLinear", "SpikingLayer", "State", "Stateful", "Surrogate", "Trainable", "Triangle", "__version__",
    "check_finite", "count_parameters", "deployed", "flush_denormals", "make_surrogate", "parameter_groups",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "EventNetwork":  # loads numba
        from delrec.engines.events.network import EventNetwork

        return EventNetwork
    raise AttributeError(f"module 'delrec' has no attribute {name!r}")

"""Training: the one loop, its optimisers, and test data that is seen once."""

from delrec_bench.training.evaluation import Scored, evaluate, score_test
from delrec_bench.training.held_out import HeldOut, ProtocolError
from delrec_bench.training.loop import Fit, Progress, fit
from delrec_bench.training.network import build, multiplying
from delrec_bench.training.optimisation import Optimisation
from delrec_bench.training.resuming import CheckpointError, Keeper, seed_everything

__all__ = [
    "CheckpointError",
    "Fit",
    "HeldOut",
    "Keeper",
    "Optimisation",
    "Progress",
    "ProtocolError",
    "Scored",
    "build",
    "evaluate",
    "fit",
    "multiplying",
    "score_test",
    "seed_everything",
]

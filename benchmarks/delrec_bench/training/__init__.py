"""Training: the one loop, its optimisers, and test data that is seen once."""

from delrec_bench.training.loop import Fit, Progress, build, engines_of, exact, fit
from delrec_bench.training.optimisation import Optimisation
from delrec_bench.training.resuming import CheckpointError, seed_everything
from delrec_bench.training.scoring import HeldOut, ProtocolError, Scored, evaluate, score_test

"""A run's request, and the settings that do not depend on its method: its training, its seeds, the whole."""

import hashlib
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from delrec_bench.arithmetic import MOST_THREADS, Arithmetic
from delrec_bench.config.evaluation import is_evaluation, is_set
from delrec_bench.config.toml import toml_value
from delrec_bench.schema import settings

Device = Literal["cpu", "cuda", "auto"]
Schedule = Literal["constant", "one-cycle", "cosine", "step", "plateau"]
Spot = tuple[str, str, tuple[tuple[str, Any], ...]]  # method, task, and where on the axes of a sweep

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Limit = Annotated[int, Field(ge=1, lt=2**31)]
Rate = Annotated[float, Field(ge=0, le=1e4)]

AXES = ("split", "permutation", "initialisation", "order")
TRIAL_SEED = 2**31 - 1  # a search's, for initialisation and order: that of no repetition ever reported
Seed = Annotated[int, Field(ge=0, le=TRIAL_SEED)]


@settings("--")
class Request:
    """What one run is asked to be."""

    method: str
    task: str
    repetition: Annotated[int, Field(ge=0, lt=2**31)] = 0  # the seeds
    profile: str = "quick"  # of presets, see `profiles`
    epochs: Limit | None = None  # short for training.epochs; None leaves the preset's
    limit: Limit | None = None  # short for task.limit
    data: str | None = None  # folder of `--data`, or None for the task's own files
    device: Device = "cpu"
    engine: str = "auto"
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] = 1  # of delrec's kernels; of torch too in native arithmetic
    arithmetic: Arithmetic = "portable"  # the same bits on every x86-64-v3 processor; "native" is the fastest here
    overrides: tuple[tuple[str, Any], ...] = ()  # (dotted key, value) pairs of `--set`
    study: str | None = None  # that asks for the run
    trial: bool = False  # of a search: on its own seeds, scored on validation data only
    point: tuple[tuple[str, Any], ...] = ()  # (axis, value or its name): where it stands on the axes of its study

    @property
    def spot(self) -> Spot:
        """What it is a repetition of."""
        return self.method, self.task, self.point

    @property
    def derived(self) -> bool:
        """Whether it is the run of `trained()`, scored under a condition of evaluation."""
        return any(is_set(key, value) for key, value in self.overrides)

    def trained(self) -> "Request":
        """The same without a condition of evaluation: what is trained."""
        return replace(self, overrides=tuple(pair for pair in self.overrides if not is_evaluation(pair[0])))

    def command(self) -> str:
        """The command line that makes this run again; the data folder by its last name."""
        words = ["delrec-bench", "run", self.method, self.task]
        words += ["--repetition", str(self.repetition), "--profile", self.profile]
        usual = Request(self.method, self.task)
        for name in ("epochs", "limit", "data", "device", "engine", "threads", "arithmetic"):
            value = getattr(self, name)
            if value != getattr(usual, name):
                words += [f"--{name}", Path(value).resolve().name if name == "data" else str(value)]
        for key, value in self.overrides:
            words += ["--set", f"{key}={toml_value(value)}"]
        return shlex.join(words + ["--trial"] * self.trial)


@settings("training.")
class TrainingConfig:
    """Settings of the training loop, which all methods share."""

    epochs: Count = 30
    batch: Count = 128  # an incomplete last batch is used too
    optimiser: Literal["adam", "adamw"] = "adamw"  # weight decay coupled, as L2, or decoupled
    lr_weights: Rate = 1e-3  # of weights, biases and batch norm; the maximum for "one-cycle"
    lr_delays: Rate = 5e-2  # of delays and spreads, which have a separate optimiser and no weight decay
    lr_neuron: Rate | None = None  # of neuron parameters; None: the same as for weights
    weight_decay: Rate = 1e-5  # on weights and biases; never on batch norm, delays, spreads or neuron parameters
    # "one-cycle" is torch's default OneCycleLR over the whole training: lr/25 to lr in 30 percent of it, then to
    # lr/25e4, while Adam's beta1 goes .95, .85, .95. "cosine" ends at 0.
    schedule_weights: Schedule = "one-cycle"
    schedule_delays: Schedule = "one-cycle"
    # These two advance after every update, or once an epoch as in the published code, whose last epoch has the smallest
    # rate. "step" and "plateau" always count epochs.
    schedule_step: Literal["update", "epoch"] = "update"
    schedule_every: Count = 10  # epochs between the drops of "step"
    schedule_factor: Annotated[float, Field(gt=0, le=1e4)] = 0.5  # of the rate at each drop of "step" or "plateau"
    schedule_patience: Annotated[int, Field(ge=0, le=1_000_000)] = 1  # epochs without a better score before "plateau"
    clip_value: Annotated[float, Field(gt=0)] | None = None  # largest absolute value of each gradient entry
    clip_norm: Annotated[float, Field(gt=0)] | None = None  # largest norm of the whole gradient
    # The epoch with the best validation score, or the last one. "best-test" scores the test set after every epoch and
    # uses the best; only for studies that show how much this inflates scores.
    selection: Literal["validation", "last", "best-test"] = "validation"
    ties: Literal["first", "last"] = "last"  # which of equal epochs is used (the papers' >=)


@settings("seeds.")
class Seeds:
    """What differs between repetitions; methods compared at one repetition share the split and the permutation."""

    split: Seed = 0  # which training samples are held out for validation
    permutation: Seed = 0  # the order of pixels in permuted tasks
    initialisation: Seed = 0  # weights and delays at the start
    order: Seed = 0  # batch order, dropout masks and augmentation

    @classmethod
    def of(cls, repetition: int, trial: bool = False) -> "Seeds":
        """Those of a repetition, the same number on every axis; a search's trial starts and orders by its own."""
        own = TRIAL_SEED if trial else repetition
        return cls(repetition, repetition, own, own)

    def stream(self, axis: str, *extra: int | str) -> int:
        """A 63-bit seed for one axis, independent of the other axes; `extra` may be an epoch, or what it is for."""
        text = ":".join(["delrec-bench", axis, str(getattr(self, axis)), *map(str, extra)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@settings("")
class Whole:
    """What is set for a run as a whole."""

    dtype: Literal["float32", "float64"] = "float32"  # of network and inputs
    budget: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0  # trainable parameters; 0 leaves network.hidden

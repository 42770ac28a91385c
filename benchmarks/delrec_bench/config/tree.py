"""A run's request, and the settings that do not depend on its method: training, seeds, evaluation, the whole.

A condition of evaluation is one under which a trained network is scored once more, beside the plain score of its run. A
lesion, `name` or `name=level`, maps the delays of one layer, in steps and of any shape, to others of that shape.
"""

import hashlib
import json
import shlex
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Generator, Tensor

from delrec_bench.arithmetic import MOST_THREADS, Arithmetic
from delrec_bench.data.transforms import CONDITIONS, Kind, parse_level
from delrec_bench.errors import BenchError
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


def parse_setting(text: str, option: str = "--set", example: str = "network.hidden=64,64") -> tuple[str, Any]:
    """`key=value` to (key, value): the value as TOML, as comma-separated numbers, or else as a word."""
    key, _, raw = (part.strip() for part in text.partition("="))
    if not key or not raw:
        raise BenchError(f"{option} {text!r} is not key=value; write, for example, {option} {example}")
    for candidate in (raw, f"[{raw}]" if "," in raw else raw):
        with suppress(tomllib.TOMLDecodeError, RecursionError):
            return key, tomllib.loads(f"value = {candidate}")["value"]
    if raw[0] in "[{\"'":
        raise BenchError(f'{option} {key}: the value is not valid TOML; write numbers, [lists], true or "text"')
    return key, None if raw in ("none", "null") else raw


def toml_value(value: Any) -> str:
    """A value as `parse_setting` reads it back: a plain word without quotes."""
    if value is None:
        return "none"
    if isinstance(value, str):
        with suppress(BenchError):
            if parse_setting(f"key={value}")[1] == value:
                return value
    # JSON's strings, numbers and lists are TOML's too; a date is refused elsewhere, as no setting is one
    return json.dumps(value, ensure_ascii=False, default=str)


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
        return shlex.join([*words, "--trial"] if self.trial else words)


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


def _permute(delay: Tensor, level: float, generator: Generator) -> Tensor:
    return delay.flatten()[torch.randperm(delay.numel(), generator=generator)].view_as(delay)


def _prune(delay: Tensor, share: float, generator: Generator) -> Tensor:
    chosen = torch.randperm(delay.numel(), generator=generator)[: round(share * delay.numel())]
    return delay.flatten().index_fill(0, chosen, 0.0).view_as(delay)


def _noise(delay: Tensor, level: float, generator: Generator) -> Tensor:
    return delay + level * torch.randn(delay.shape, generator=generator).to(delay)


# (delays in steps, float64; level; generator) -> delays in steps
LESIONS = {
    "permute": Kind(_permute),  # delays change places within their layer
    "zero": Kind(lambda delay, *_: torch.zeros_like(delay)),
    "shrink": Kind(lambda delay, level, _: delay * level, "factor", 1.0),
    "noise": Kind(_noise, "steps (standard deviation)", 1e6),
    "quantise": Kind(lambda delay, level, _: (delay / level).round() * level, "steps", 1e6, 1.0),
    "prune": Kind(_prune, "share of delays", 1.0),  # a share, drawn at random, becomes 0
}


def _levelled(what: str, kinds: Mapping[str, Any]) -> AfterValidator:
    """Take one of `kinds`, or None; its level is then written in one way, which the key holds."""

    def check(text: str | None) -> str | None:
        if text is None:
            return None
        try:
            name, level = parse_level(text, kinds, what)
        except BenchError as error:
            raise ValueError(f"none, or one of {', '.join(kinds)}: {error}") from error
        return f"{name}={level:.12g}" if kinds[name].unit else name

    return AfterValidator(check)


@settings("evaluation.")
class Evaluation:
    """How a trained network is scored, where it is not as deployed on the untouched test set.

    A run under a condition is derived from the run with the same remaining settings, whose network is loaded and
    scored anew; an ordinary run has none of these in its configuration or key.
    """

    # What happens to the events of the test set, a `name=level` of `delrec_bench.data.transforms`, and to the trained
    # delays, one of `LESIONS`; delays that stay real, or the spread on at which the training stood.
    condition: Annotated[str | None, _levelled("condition", CONDITIONS)] = None
    lesion: Annotated[str | None, _levelled("lesion", LESIONS)] = None
    deployment: Literal["unrounded", "sigma"] | None = None

    def canonical(self) -> dict[str, str]:
        """What is set, for the key and the record: nothing of a plain run."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.canonical().items()) or "deployed"


NAMES = tuple(item.name for item in fields(Evaluation))


def is_evaluation(key: str) -> bool:
    """Whether a key, dotted or short, is one of `evaluation`."""
    return key in NAMES or key.startswith("evaluation.")


def is_set(key: str, value: Any) -> bool:
    """Whether an override asks for a condition of evaluation."""
    return is_evaluation(key) and value is not None

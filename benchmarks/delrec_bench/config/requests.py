"""A request: what one run is asked to be, and the command line that asks for it."""

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
Count = Annotated[int, Field(ge=1, lt=2**31)]
Exhibit = Literal["test selection"]
Spot = tuple[str, str, tuple[tuple[str, Any], ...]]  # method, task, and where on the axes of a sweep


@settings("--")
class Request:
    """What one run is asked to be.

    Attributes:
        method, task: Names.
        repetition: 0, 1, ...: the seeds.
        profile: A file of presets, see `profiles`.
        epochs, limit: Short for training.epochs and task.limit; None leaves the preset's.
        data: Folder of `--data`, or None for the task's own files.
        device, engine: Where the network is, and what runs it.
        threads: Threads of delrec's kernels; of torch too in native arithmetic.
        arithmetic: "portable" has the same bits on every x86-64-v3 processor, "native" is the fastest here.
        overrides: (dotted key, value) pairs of `--set`.
        study: Study that asks for the run, or None.
        trial: Whether it is a trial of a search: on seeds of its own, scored on validation data only.
        point: Where it stands on the axes that its study sweeps, (axis, value or its name) pairs; `overrides` hold the
            settings of it.
        exhibits: A breach of protocol that its study shows on purpose, and that is refused elsewhere.
    """

    method: str
    task: str
    repetition: Annotated[int, Field(ge=0, lt=2**31)] = 0
    profile: str = "quick"
    epochs: Count | None = None
    limit: Count | None = None
    data: str | None = None
    device: Device = "cpu"
    engine: str = "auto"
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)] = 1
    arithmetic: Arithmetic = "portable"
    overrides: tuple[tuple[str, Any], ...] = ()
    study: str | None = None
    trial: bool = False
    point: tuple[tuple[str, Any], ...] = ()
    exhibits: Exhibit | None = None

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
        words += ["--trial"] * self.trial
        words += [] if self.study is None else ["--study", self.study]
        return shlex.join(words)

"""A request: what one run is asked to be, and the command line that asks for it."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delrec_bench.config.toml import toml_value


@dataclass(frozen=True)
class Request:
    """What one run is asked to be.

    Attributes:
        method, task: Names.
        repetition: 0, 1, ...: the seeds.
        profile: A file of presets, see `profiles`.
        epochs, limit: Short for training.epochs and task.limit; None leaves the preset's.
        data: Folder of `--data`, or None for the task's own files.
        device: "cpu", "cuda", or "auto".
        engine: "auto" or an engine of core.
        threads: Threads of torch and numba.
        overrides: (dotted key, value) pairs of `--set`.
        study: Study that asks for the run, or None.
        trial: Whether it is a trial of a search: on seeds of its own, scored on validation data only.
    """

    method: str
    task: str
    repetition: int = 0
    profile: str = "quick"
    epochs: int | None = None
    limit: int | None = None
    data: str | None = None
    device: str = "cpu"
    engine: str = "auto"
    threads: int = 1
    overrides: tuple[tuple[str, Any], ...] = ()
    study: str | None = None
    trial: bool = False

    def command(self) -> str:
        """The command line that makes this run again; the data folder by its last name."""
        words = ["delrec-bench", "run", self.method, self.task, "--repetition", str(self.repetition)]
        words += ["--profile", self.profile]
        for name in ("epochs", "limit"):
            if getattr(self, name) is not None:
                words += [f"--{name}", str(getattr(self, name))]
        if self.data is not None:
            words += ["--data", Path(self.data).resolve().name]
        for name, usual in (("device", "cpu"), ("engine", "auto"), ("threads", 1)):
            if getattr(self, name) != usual:
                words += [f"--{name}", str(getattr(self, name))]
        for key, value in self.overrides:
            words += ["--set", f"{key}={toml_value(value)}"]
        if self.trial:
            words.append("--trial")
        if self.study is not None:
            words += ["--study", self.study]
        return shlex.join(words)

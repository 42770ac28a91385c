"""What a method is, and how methods are found."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from delrec_bench.errors import BenchError, RunError, nearest, raised
from delrec_bench.plugins import Plugins

if TYPE_CHECKING:
    from delrec import Trainable

    from delrec_bench.data.task_data import TaskData
    from delrec_bench.tasks.task import Task

_PRESETS = TypeAdapter(dict[tuple[str, str], dict[str, Any]])
Build = Callable[[Mapping[str, Any], int, int], "Trainable"]
Floor = Callable[["TaskData"], Any]
FAMILIES = (
    *("no delays", "feedforward delays", "recurrent delays", "adaptive neurons", "adaptive neurons with delays"),
    *("exact gradients", "not spiking", "other methods", "no network"),
)
"""The groups of the leaderboard, in its order."""


@dataclass(frozen=True, eq=False)
class Method:
    """A method, declared by a file in the list `METHODS`."""

    name: str  # on the command line and in rows
    summary: str  # one line
    source: str  # paper or code it comes from
    learned: str  # what training changes, such as "weights, recurrent delays"
    title: str = ""  # display name, such as "DelRec, fixed random delays"; defaults to `name`
    family: str = "other methods"  # its group on the leaderboard, one of `FAMILIES`
    # Every hyperparameter that `build` reads, with its default; `--set network.NAME=...` overrides one. The list of
    # layer widths must be called `hidden`.
    settings: Mapping[str, Any] = field(default_factory=dict)
    # (settings, input channels, classes) -> Trainable, where a forecast has one class; or, of a non-neural baseline, a
    # function from the task data to one prediction per test sample.
    build: Build | None = None
    floor: Floor | None = None
    board: bool = False  # whether the leaderboard shows it
    control: str | None = None  # the baseline to compare it with, declared before any run
    # The method whose searched settings it shares (fixed delays use those of learned ones).
    searched_with: str | None = None
    # Dotted settings by (task or task family, profile), where "*" stands for any; they take precedence over those of
    # the profile.
    presets: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    # A task -> None, or the reason why the method cannot run on it.
    applicable: Callable[["Task"], str | None] = lambda task: None
    code: str = ""  # see `Plugins`; not to be given

    def __post_init__(self) -> None:
        for name in ("name", "summary", "source", "learned"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise BenchError(f"method {self.name!r}: {name} is {getattr(self, name)!r}; give one line of text")
        try:
            json.dumps({**self.settings}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BenchError(f"method '{self.name}': settings must be plain values by name ({error})") from None
        if wrong := [name for name in self.settings if name.startswith("_") or hasattr(BaseModel, name)]:
            raise BenchError(f"method '{self.name}': a setting cannot have the name '{wrong[0]}'; choose another")
        if not isinstance(hidden := self.settings.get("hidden", []), list | tuple):
            raise BenchError(f"method '{self.name}': hidden is {hidden!r}; give a list of the widths of layers")
        try:
            _PRESETS.validate_python(self.presets)
        except ValidationError:
            wanted = "{(task or family, profile): {setting: value}}"
            raise BenchError(f"method '{self.name}': presets are {self.presets!r}; give {wanted}") from None
        if self.control == self.name:
            raise BenchError(f"method '{self.name}': it is its own control; name another method, or None")
        if self.family not in FAMILIES:
            raise BenchError(f"method '{self.name}': family {self.family!r}; {nearest(self.family, FAMILIES)}")
        if (self.build is None) == (self.floor is None):
            raise BenchError(f"method '{self.name}' needs either build (a network) or floor (predictions)")

    @property
    def called(self) -> str:
        """The display name."""
        return self.title or self.name

    def reason(self, task: "Task") -> str | None:
        """Why it has no runs on a task, or None: its `applicable`, whose faults are a `BenchError`."""
        try:
            reason = self.applicable(task)
        except Exception as error:
            raise BenchError(f"method '{self.name}': its applicable raised {raised(error)}") from error
        if not (reason is None or isinstance(reason, str)):
            raise BenchError(f"method '{self.name}': its applicable returned {reason!r}; return None or the reason")
        return reason

    @property
    def kind(self) -> str:
        """The kind of its records: "run" or "floor"."""
        return "run" if self.floor is None else "floor"

    @property
    def entry(self) -> str:
        """The name under which its settings are searched and kept."""
        return self.searched_with or self.name

    def network(self, settings: Mapping[str, Any], inputs: int, classes: int) -> "Trainable":
        """Build its network; a `BenchError` where it refuses the settings, a `RunError` where its code fails."""
        from delrec import Trainable  # a list of methods needs none

        assert self.build is not None
        try:
            model = self.build(settings, inputs, classes)
        except ValueError as error:
            raise BenchError(f"method '{self.name}': {error}") from error
        except (Exception, SystemExit) as error:
            raise RunError(f"method '{self.name}': its build raised {raised(error)}") from error
        if not isinstance(model, Trainable):
            raise BenchError(f"method '{self.name}': its build returned {type(model).__name__}, no delrec.Trainable")
        return model

    def preset(self, task: "Task", profile: str) -> dict[str, Any]:
        """The method's own settings for a task and profile; the more specific ones take precedence."""
        merged: dict[str, Any] = {}
        for where in ("*", task.family, task.name):
            for when in ("*", profile):
                merged |= self.presets.get((where, when), {})
        return merged


class MethodTable(Plugins[Method]):
    """Methods by name."""

    kind, declared, of = "method", "METHODS", Method


def find_methods(extra_dirs: Iterable[Path | str] = ()) -> MethodTable:
    """All methods: of this package, of installed distributions, and of every *.py file in the extra folders."""
    table = MethodTable.found(extra_dirs)
    for method in table.values():
        for role, name in (("control", method.control), ("searched_with", method.searched_with)):
            if name is not None and name not in table:
                raise BenchError(f"method '{method.name}': {role} '{name}'; {nearest(name, table)}")
    return table

"""What a study's TOML file may say, as models; what stands above its tables goes for every profile that says no other.

summary = "..."                            what the study asks, in a line
methods = ["lif", "delrec-axonal"]         names, or attributes and their values: { board = true }
sweep = { "network.sigma" = [0, 1, 3] }    axes, crossed with the methods that have the setting
sweep = { step = [{ name = "10 ms", "task.step_ms" = 10, tau = 4 }, ...] }    an axis of several settings at once
margin = { digits = 0.01 }                 what counts as a difference, by task, in the unit of its score

[quick]                                    a profile
tasks = { embedded = true }
repetitions = 3
"""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from delrec_bench.config import read_toml
from delrec_bench.errors import BenchError, nearest
from delrec_bench.schema import FileTable, checked, dotted

FOLDER = Path(__file__).parent
Repetitions = Annotated[int, Field(ge=1, le=1000)]


def _distinct(values: list[Any]) -> list[Any]:
    if any(value in values[:i] for i, value in enumerate(values)):
        raise ValueError("a list of each value only once")
    return values


def _axes(value: dict[str, Any]) -> dict[str, list[Any]]:
    axes = dotted(value)
    for name, values in axes.items():
        if not (isinstance(values, list) and values):
            raise ValueError(f"a list of values for every setting; {name} = {values!r} is not one")
        points = [point for point in values if isinstance(point, dict)]
        if points and (len(points) < len(values) or not all(isinstance(point.get("name"), str) for point in points)):
            raise ValueError(f"for {name}: only tables, each with a name and its settings")
        _distinct([point["name"] for point in points] or values)
    return axes


def _space(value: dict[str, Any]) -> dict[str, Any]:
    for name, choice in value.items():
        bounds = choice.values() if isinstance(choice, dict) and set(choice) == {"low", "high"} else ()
        numbers = bounds and all(type(bound) in (int, float) for bound in bounds)
        if not ((numbers and 0 < choice["low"] < choice["high"] < math.inf) or (isinstance(choice, list) and choice)):
            raise ValueError(f"for {name}: give a list of values, or numbers {{ low, high }} with 0 < low < high")
    return value


def _chosen(value: Any) -> Any:
    words = isinstance(value, list) and value and all(isinstance(word, str) for word in value)
    if not (words or isinstance(value, dict)):
        raise ValueError("a list of names, or attributes and their values")
    return _distinct(value) if words else value


def _line(value: str) -> str:
    if not value.strip() or "\n" in value:
        raise ValueError("a line of text")
    return value.strip()


def _sentence(value: str) -> str:
    if {"{", "}"} & set(_PLACEHOLDER.sub("", value)):
        raise ValueError("a line whose placeholders are {TASK.FIELD}, FIELD one of " + _FIELDS.replace("|", ", "))
    return _line(value)


_FIELDS = "difference|interval|n|method|control|verdict"  # method, control: their mean scores
_PLACEHOLDER = re.compile(rf"\{{([\w-]+)\.(?:{_FIELDS})\}}")
Line = Annotated[str, AfterValidator(_line)]
Chosen = Annotated[Any, AfterValidator(_chosen)]


class Pair(FileTable):
    """Two rows that are compared: whether `method` is better than `control`."""

    method: str
    control: str
    at: dict[str, Any] = Field(default_factory=dict)  # where on the axes of the sweep, where the two have them
    control_at: dict[str, Any] = Field(default_factory=dict)  # where the control stands instead, where the two differ


class PrimaryTable(Pair):
    """The one comparison that a study's numbers of repetitions are meant for; all else on its page is exploratory."""

    over: Annotated[list[str], Field(min_length=1), AfterValidator(_distinct)]  # its tasks
    # Where on the axes the same difference is taken off: the claim is then that it depends on the place.
    minus_at: dict[str, Any] = Field(default_factory=dict)


class ContrastTable(Pair):
    """A comparison beside those of every method with its own control; `about` says what the two share or differ in."""

    about: Line


class FindingTable(FileTable):
    """What people found, filled with numbers and checked by the page (`report.content`)."""

    text: Annotated[str, AfterValidator(_sentence)]  # such as "Learned delays gain {digits.difference} on digits."
    # Task (of a folder's files, "shd:FOLDER") -> the verdict that it needs; if the runs give another, it is not shown.
    verdicts: Annotated[dict[str, Literal["better", "worse", "equivalent", "inconclusive"]], Field(min_length=1)]

    @property
    def tasks(self) -> list[str]:
        """The tasks that it speaks of."""
        return [*(name.partition(":")[0] for name in self.verdicts), *_PLACEHOLDER.findall(self.text)]


class Profile(FileTable):
    """One profile of a study, with what it does not say taken from what stands above all of them."""

    methods: Chosen = Field(default_factory=dict)  # names, or attributes (`methods/method.py`) and their values
    tasks: Chosen = Field(default_factory=dict)  # names, or attributes (`tasks/task.py`) and their values
    without: dict[str, list[str]] = Field(default_factory=dict)  # method -> tasks that it is left out of
    repetitions: Repetitions = 3  # of each row, each with its own seeds
    profile: str | None = None  # of presets; by itself the one of the same name
    # For every run; `set.TASK`, `set.METHOD` and `set.METHOD.TASK` for these alone, the last over the first.
    set: dict[str, Any] = Field(default_factory=dict)
    # Setting -> the values it takes; or a name of your own -> tables, each with its `name` and its settings.
    sweep: Annotated[dict[str, Any], AfterValidator(_axes)] = Field(default_factory=dict)
    # Setting -> values or bounds, drawn anew for each repetition and task and shared by all methods that have it.
    draw: Annotated[dict[str, Any], AfterValidator(_space)] = Field(default_factory=dict)
    # Methods whose repetition r has the settings that their search with seed r + 1 chose on the task.
    searched: list[str] = Field(default_factory=list)
    primary: PrimaryTable | None = None
    question: Line | None = None  # the page's title
    finding: FindingTable | None = None
    contrasts: list[ContrastTable] = Field(default_factory=list)  # what else is compared, exploratory
    notes: list[Line] = Field(default_factory=list)  # what a reader must know before trusting a row, a sentence each
    # Whether its runs are expected on the page; else a row is a method's size, latency and published score.
    scored: bool = True
    margin: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)  # task -> smallest difference


class StudyFile(Profile):
    """A whole study file; a profile adds to its `notes`, and its own settings go over those of `set`."""

    summary: Line  # what the study asks
    ablation: bool = False  # whether `nox -s ablate` makes its quick profile
    profiles: dict[str, Profile] = Field(default_factory=dict)

    @property
    def usual(self) -> str:
        """The profile that is meant where none is named: `quick`, or the first where there is none of this name."""
        return "quick" if "quick" in self.profiles else next(iter(self.profiles))


def study_file(path: Path) -> StudyFile:
    """Read and check a study file; a `BenchError` names the wrong field, or the nearest key."""
    content, where = read_toml(path), f"study '{path.stem}'"
    tables = {name: of for name, of in content.items() if isinstance(of, dict) and name not in StudyFile.model_fields}
    if not tables:
        raise BenchError(f"{where} has no profile; add a table such as [quick] with methods and tasks")
    general = {name: value for name, value in content.items() if name not in tables}
    shared = {k: v for k, v in general.items() if k in Profile.model_fields and k not in ("set", "notes")}
    profiles = {name: shared | table for name, table in tables.items()}
    for name, table in profiles.items():
        checked(Profile, table, f"{where}, [{name}]")
    return checked(StudyFile, general | {"profiles": profiles}, where)


def study_files() -> dict[str, Path]:
    """The studies of this package by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def study_path(name: str) -> Path:
    """The file of a study: one of this package by its name, or a user's own by its path."""
    known = study_files()
    if name in known:
        return known[name]
    path = Path(name).expanduser()
    if not (name.endswith(".toml") and path.is_file()):
        raise BenchError(f"no study '{name}'; {nearest(name, known)}; or give the path of a .toml file that exists")
    if not re.fullmatch(r"[\w.-]+", path.stem):
        raise BenchError(f"study file '{name}': links need its name; use only letters, digits, '.', '-' and '_' in it")
    for own, file in known.items():
        if f"{path.stem}-".startswith(f"{own}-") and not path.samefile(file):
            raise BenchError(f"study file '{name}' starts with the name of this package's study '{own}'; rename it")
    return path

"""The rooms of the suite, from the ground up: each imports only rooms that stand before it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "delrec_bench"
GROUND = ("errors", "schema", "workspace", "plugins", "arithmetic", "environment")
ROOMS = (
    *GROUND,
    *(
        "networks",
        "metrics",
        "records",
        "data",
        "tasks",
        "methods",
        "config",
        "training",
        "runs",
        "interchange",
        "studies",
    ),
    *("statistics", "latency", "report", "app"),
)
LONGEST = 300  # lines of a module that is read in one sitting


def imported(source: str, package: str) -> Iterator[str]:
    """Dotted names that a module imports, anywhere in it; relative ones as seen from its package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms_of(source: str, package: str) -> set[str]:
    """The rooms that a module imports."""
    names = (name.split(".") for name in imported(source, package))
    return {parts[1] for parts in names if parts[0] == "delrec_bench" and len(parts) > 1}


def wrong_arrows(room: str, source: str, package: str) -> list[str]:
    """The rooms that a module of `room` must not import: those that do not stand before it."""
    known = rooms_of(source, package)
    assert known <= set(ROOMS), f"no room: {known - set(ROOMS)}"
    return sorted(name for name in known - {room} if ROOMS.index(name) > ROOMS.index(room))


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def named(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_every_folder_and_file_is_a_room_that_has_its_place():
    assert {room_of(path) for path in modules()} == set(ROOMS)


@pytest.mark.parametrize("path", modules(), ids=named)
def test_a_room_imports_only_rooms_that_stand_before_it(path):
    package = ".".join(["delrec_bench", *path.relative_to(PACKAGE).parts[:-1]])
    assert wrong_arrows(room_of(path), path.read_text(encoding="utf-8"), package) == []


@pytest.mark.parametrize("path", [path for path in modules() if room_of(path) != "app"], ids=named)
def test_no_library_module_knows_the_command_line(path):
    source = path.read_text(encoding="utf-8")
    assert "app" not in rooms_of(source, ".".join(["delrec_bench", *path.relative_to(PACKAGE).parts[:-1]]))
    assert not {name.split(".")[0] for name in imported(source, "delrec_bench")} & {"argparse", "typer"}


@pytest.mark.parametrize(
    ("room", "source", "wrong"),
    [
        ("records", "from delrec_bench.report import find", ["report"]),
        ("records", "def later():\n    import delrec_bench.runs.single", ["runs"]),
        ("tasks", "from ..methods.base import Method", ["methods"]),
        ("tasks", "from delrec_bench import studies, errors", ["studies"]),
        ("studies", "from delrec_bench.app.common import say", ["app"]),
        ("training", "if TYPE_CHECKING:\n    from delrec_bench.config import Request", []),
        ("report", "from . import words\nfrom delrec_bench.statistics import holm", []),
    ],
)
def test_a_wrong_arrow_is_seen_wherever_it_stands(room, source, wrong):
    assert wrong_arrows(room, source, f"delrec_bench.{room}") == wrong


def test_tasks_and_metrics_hold_nothing_but_one_of_them_a_file():
    for folder, name in (("tasks", "TASK"), ("metrics", "METRIC")):
        for path in (PACKAGE / folder).glob("*.py"):
            if path.stem not in ("__init__", "base"):
                assert f"\n{name} = " in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("path", modules(), ids=named)
def test_a_module_is_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def callers(name: str) -> set[str]:
    """The modules that call a function or method of this name."""
    found = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and name in (getattr(node.func, "id", ""), getattr(node.func, "attr", "")):
                found.add(named(path))
    return found


def test_a_request_is_resolved_in_one_place_which_alone_names_a_runs_key():
    no_runs = {"config/budget.py", "studies/cost.py", "studies/claims.py", "app/behind.py"}  # they only look
    assert callers("settle") == {"config/resolving.py"} | no_runs
    assert callers("run_key") == {"config/resolving.py", "records/checks.py"}  # which computes it again from the record

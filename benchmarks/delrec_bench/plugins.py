"""Methods, tasks and metrics, one file each: found in this package, in installed distributions and in folders.

A distribution names its modules in its pyproject.toml:

    [project.entry-points."delrec_bench.methods"]
    mine = "my_package.my_methods"          a module with METHODS, as a file of a folder
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from shlex import quote
from types import ModuleType
from typing import Any, ClassVar, Self, TypeVar

from delrec_bench.errors import BenchError, nearest

T = TypeVar("T")
PACKAGE = Path(__file__).parent
NAME = re.compile(r"\w[\w.+-]*( [\w.+-]+)*")  # a folder, and a word of the command line, which splits at ':', ',', '='
KNOWN: dict[tuple[Any, ...], Any] = {}
"""The tables that were made in this process, by class, files and what these hold."""


class Plugins(dict[str, T]):
    """Plug-ins by name; of an unknown one a BenchError says the nearest."""

    kind: ClassVar[str]  # "method", "task" or "metric"
    declared: ClassVar[str]  # the variable of a module that holds one, or a list of them
    of: ClassVar[type[Any]]  # their class, whose `code` is the digest of a user's own file; keys of runs hold it

    def __init__(self, *entries: Any, **named: T) -> None:
        super().__init__(*entries, **named)
        self._folders: dict[str, Path] = {}

    def __missing__(self, name: str) -> T:
        ways = f"see delrec-bench list {self.kind}s, or give your own with --{self.kind}s DIR"
        raise BenchError(f"no {self.kind} '{name}'; {nearest(name, self)} ({ways})")

    def option(self, name: str) -> str:
        """The words " --methods DIR" (tasks, metrics) that a command needs for one from a folder, else nothing."""
        return f" --{self.kind}s {quote(os.path.relpath(self._folders[name]))}" if name in self._folders else ""

    @classmethod
    def found(cls, folders: Iterable[Path | str] = ()) -> Self:
        """Those of this package, of installed distributions, and of every *.py file in the folders.

        Files whose name begins with '_' or '.' are passed over. A file is executed once, until its folder changes.

        Raises:
            BenchError: A folder that is not there, a file that does not import or declares none, a name twice.
        """
        files: list[Path] = []
        code: list[Path] = []
        for folder in map(Path, folders):
            own = sorted(folder.glob("[!_.]*.py")) if folder.is_dir() else []
            if not own:
                wrong = "holds none" if folder.is_dir() else "is a file" if folder.exists() else "does not exist"
                raise BenchError(f"{cls.kind} folder '{folder}' {wrong}; give a folder of {cls.kind} files")
            files, code = files + own, code + own + _helpers(folder)
        key = (cls, *((path.resolve(), path.read_bytes() if path.is_file() else None) for path in code))
        if key not in KNOWN:
            table = cls()
            table._add_own()
            table._add_installed()
            for path in files:
                table._add(str(path), import_file(path, cls.kind), path.parent)
            KNOWN[key] = table
        return KNOWN[key]

    def _add_own(self) -> None:
        package = importlib.import_module(f"delrec_bench.{self.kind}s")
        for path in sorted(Path(package.__path__[0]).glob("[!_]*.py")):
            module = importlib.import_module(f"{package.__name__}.{path.stem}")
            if hasattr(module, self.declared):
                self._add(str(path), module)

    def _add_installed(self) -> None:
        points = importlib.metadata.entry_points(group=f"delrec_bench.{self.kind}s")
        for point in sorted(points, key=lambda point: (point.name, point.value)):
            owner = point.dist.name if point.dist is not None else "unknown"
            where = f"entry point '{point.name} = {point.value}' of distribution '{owner}'"
            try:
                module = point.load()
            except (Exception, SystemExit) as error:
                why = f"{type(error).__name__}: {error}"
                raise BenchError(f"{where}: import failed ({why}); fix or uninstall {owner}") from error
            if not isinstance(module, ModuleType):
                raise BenchError(f"{where}: names a {type(module).__name__}; name a module with {self.declared}")
            self._add(where, module)

    def _add(self, where: str, module: ModuleType, folder: Path | None = None) -> None:
        entries = getattr(module, self.declared, None)
        if entries in (None, [], ()):
            raise BenchError(f"{where}: it defines no {self.declared}; add one, or let the file name start with '_'")
        for entry in entries if isinstance(entries, list | tuple) else [entries]:
            if not isinstance(entry, self.of):
                wanted = f"{self.of.__module__}.{self.of.__name__}"
                raise BenchError(f"{where}: {self.declared} has an entry of type {type(entry).__name__}, not {wanted}")
            if not (isinstance(entry.name, str) and NAME.fullmatch(entry.name)):
                raise BenchError(f"{where}: {self.kind} {entry.name!r}: name it by letters, digits, '.', '_', '+', '-'")
            for name in (item.name for item in fields(entry) if item.type is str):
                if not (isinstance(text := getattr(entry, name), str) and text.isprintable()):
                    raise BenchError(f"{where}: {self.kind} '{entry.name}': {name} is {text!r}; give one line of text")
            if entry.name in self:
                raise BenchError(f"{where}: {self.kind} '{entry.name}' already exists; choose another name")
            own = Path(str(module.__file__)).is_relative_to(PACKAGE)
            self[entry.name] = entry if own else replace(entry, code=_digest(module, folder))
            if folder is not None:
                self._folders[entry.name] = folder.resolve()


def _digest(module: ModuleType, folder: Path | None) -> str:
    """A digest of a user's code: all of an installed package, or one file and the helpers beside it."""
    package = sys.modules[module.__name__.partition(".")[0]]
    files = [file for path in getattr(package, "__path__", ()) for file in sorted(Path(path).rglob("*.py"))]
    files += [Path(str(module.__file__)), *(_helpers(folder) if folder else ())]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files if file.is_file())).hexdigest()[:16]


def _helpers(folder: Path) -> list[Path]:
    """The files beside a plug-in whose name begins with '_', and all in such folders."""
    return sorted(folder.glob("_*.py")) + sorted(folder.glob("_*/**/*.py"))


def import_file(path: Path, kind: str) -> ModuleType:
    """Import one file under a name that no other file can have.

    Python's own loader would take its stored bytecode for a file that was edited within a second and kept its size.
    """
    name = f"delrec_bench_{kind}_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec: Any = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        raise BenchError(f"{path}: import failed ({type(error).__name__}: {error})") from error
    return module

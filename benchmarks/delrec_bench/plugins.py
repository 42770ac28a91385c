"""Methods and tasks without a fork: modules of a user's own folder, and entry points of installed distributions.

A distribution names its modules in its pyproject.toml:

    [project.entry-points."delrec_bench.methods"]
    mine = "my_package.my_methods"          a module with METHODS, as a file of a folder
"""

import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from delrec_bench.errors import BenchError


def import_folder(folder: Path, kind: str) -> Iterator[tuple[Path, ModuleType]]:
    """Import every *.py file of a folder whose name does not begin with '_', in the order of their names.

    Args:
        folder: Where the files are.
        kind: What they hold, for messages: "method" or "task".

    Raises:
        BenchError: The folder is not there, or a file does not import.
    """
    if folder.is_file():
        raise BenchError(f"'{folder}' is a file; name its folder: --{kind}s {folder.parent}")
    if not folder.is_dir():
        raise BenchError(f"{kind} folder '{folder}' does not exist; give a folder of {kind} files")
    for path in sorted(folder.glob("[!_]*.py")):
        yield path, import_file(path, kind)


def import_installed(kind: str) -> Iterator[tuple[str, ModuleType]]:
    """Import the modules that installed distributions name in the entry points `delrec_bench.<kind>s`, by name.

    Args:
        kind: "method" or "task".

    Yields:
        What to call it in messages, and the module.

    Raises:
        BenchError: One does not import, or is no module; names the distribution.
    """
    for point in sorted(
        importlib.metadata.entry_points(group=f"delrec_bench.{kind}s"), key=lambda p: (p.name, p.value)
    ):
        owner = point.dist.name if point.dist is not None else "unknown"
        where = f"entry point '{point.name} = {point.value}' of distribution '{owner}'"
        try:
            module = point.load()
        except (Exception, SystemExit) as error:
            raise BenchError(
                f"{where}: does not import ({type(error).__name__}: {error}); mend or uninstall {owner}"
            ) from error
        if not isinstance(module, ModuleType):
            raise BenchError(f"{where}: names a {type(module).__name__}; it must name a module that declares {kind}s")
        yield where, module


def import_file(path: Path, kind: str) -> ModuleType:
    """Import one file under a name that no other file can have.

    Raises:
        BenchError: It does not import; the message says why.
    """
    name = f"delrec_bench_{kind}_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BenchError(f"{path}: cannot be imported as Python; give a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise BenchError(f"{path}: does not import ({type(error).__name__}: {error}); mend the file") from error
    return module

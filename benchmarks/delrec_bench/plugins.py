"""Modules of a user's own folder, imported by path: how methods and tasks are added without a fork."""

import hashlib
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
    if not folder.is_dir():
        raise BenchError(f"{kind} folder '{folder}' does not exist; give a folder of {kind} files")
    for path in sorted(folder.glob("[!_]*.py")):
        yield path, import_file(path, kind)


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
    except Exception as error:
        raise BenchError(f"{path}: does not import ({type(error).__name__}: {error}); mend the file") from error
    return module

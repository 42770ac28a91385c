"""Modules import each other in one direction, and none of them the package as a whole."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import delrec

HOME = Path(delrec.__file__).parent


def name_of(path):
    parts = path.relative_to(HOME.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(body):
    """Yield the modules of delrec that are imported when a module is: not in a function, nor for type checkers."""
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "delrec":
            for alias in node.names:
                yield node.module, alias.name
        for field in ("body", "orelse", "handlers", "finalbody"):
            guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            if not guarded and not isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield from imported(getattr(node, field, []))


def test_imports_run_in_one_direction_and_engines_never_ask_for_the_whole_package():
    modules = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in HOME.rglob("*.py")}
    graph = {}
    for name, tree in modules.items():
        pairs = [(m, f"{m}.{what}") for m, what in imported(tree.body)]
        used = {whole if whole in modules else module for module, whole in pairs}
        assert name == "delrec" or "delrec" not in used, f"{name} imports delrec as a whole"
        # a package stands for its own modules: what imports the package imports them first
        graph[name] = used - {name}
    list(TopologicalSorter(graph).static_order())


EXPORT = """
import sys, torch, delrec
assert "torch._dynamo" not in sys.modules, "which takes as long to import as torch itself"
torch.export.export(delrec.SpikingLayer(2, engine="cpu").eval(), (torch.rand(3, 1, 2),))
"""


def test_the_package_does_not_import_torchs_compiler_and_a_model_is_exported_before_it_ever_ran():
    assert subprocess.run([sys.executable, "-c", EXPORT], check=False).returncode == 0

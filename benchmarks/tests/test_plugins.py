"""Methods and tasks of an installed distribution: entry points beside --methods DIR and --tasks DIR."""

import json
import os
import sys
from pathlib import Path

import pytest
from delrec_bench import app
from delrec_bench.app.options import Places
from delrec_bench.config import Request
from delrec_bench.errors import BenchError
from delrec_bench.latency import measuring
from delrec_bench.methods.base import find_methods
from delrec_bench.tasks.base import find_tasks

METHODS = """
from dataclasses import replace
from delrec_bench.methods.plain import METHODS as PLAIN

METHODS = [replace(PLAIN[0], name="visitor", control=None, title="Visitor")]
"""
TASK = """
from dataclasses import replace
from delrec_bench.tasks.digits import TASK as DIGITS

TASK = replace(DIGITS, name="visited")
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a made-up distribution: its modules, and what it names as entry points."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def install(name: str, modules: dict[str, str], points: str) -> Path:
        for module, source in modules.items():
            (tmp_path / f"{module}.py").write_text(source)
            monkeypatch.delitem(sys.modules, module, raising=False)
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(points)
        return folder

    return install


def test_folders_are_named_for_whoever_reads_them_elsewhere(tmp_path, monkeypatch):
    """Latency is measured by a process in the checkout: `--methods my-methods` left every row without one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DELREC_BENCH_METHODS", "shared")
    monkeypatch.setenv("DELREC_BENCH_METRICS", "")
    monkeypatch.delenv("DELREC_BENCH_TASKS", raising=False)
    places = Places(methods=["mine"], tasks=["tasks"], metrics=["metrics"])
    assert places.folders() == ((str(tmp_path / "mine"), str(tmp_path / "shared")), (str(tmp_path / "tasks"),))
    assert os.environ["DELREC_BENCH_METRICS"] == str(tmp_path / "metrics"), "of every command, collect and audit too"
    placed = measuring._placed(Request("lif", "shd", data="corpora/shd"))
    assert placed.data == str(tmp_path / "corpora" / "shd")
    assert measuring._placed(Request("lif", "digits")) == Request("lif", "digits")


def test_methods_and_tasks_of_a_distribution_are_there_once_it_is_installed(installed, capsys):
    assert "visitor" not in find_methods() and "visited" not in find_tasks()
    installed(
        "guest",
        {"guest_methods": METHODS, "guest_task": TASK},
        "[delrec_bench.methods]\nmine = guest_methods\n\n[delrec_bench.tasks]\nmine = guest_task\n",
    )
    assert find_methods()["visitor"].build is not None
    assert find_tasks()["visited"].family == "pixels"
    assert app.main(["list", "methods", "--json"]) == 0
    assert "visitor" in {row["name"] for row in json.loads(capsys.readouterr().out)["methods"]}


@pytest.mark.parametrize(
    ("source", "point", "message"),
    [
        ("raise ValueError('oops')", "guest", r"does not import \(ValueError: oops\); mend or uninstall guest"),
        ("METHODS = 3", "guest", "no METHODS = "),
        ("METHODS = []", "guest:METHODS", "names a list; it must name a module"),
        (METHODS.replace("visitor", "lif"), "guest", "method 'lif' exists already"),
        ("", "absent", "does not import .ModuleNotFoundError"),
    ],
)
def test_a_broken_entry_point_names_itself_and_its_distribution(installed, source, point, message):
    installed("guest", {"guest": source}, f"[delrec_bench.methods]\nmine = {point}\n")
    with pytest.raises(BenchError, match=rf"entry point 'mine = {point}' of distribution 'guest': .*{message}"):
        find_methods()

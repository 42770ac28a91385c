"""Where arithmetic is decided: by the environment of a process, by the machine, and never in silence."""

import os
import subprocess
import sys

import pytest
from delrec_bench import arithmetic
from delrec_bench.config import Request, resolve
from delrec_bench.methods.method import find_methods
from delrec_bench.tasks.task import find_tasks
from delrec_bench.workspace import workspace_at


@pytest.fixture
def elsewhere(monkeypatch):
    """A machine that cannot compute portably."""
    monkeypatch.setattr(arithmetic.platform, "machine", lambda: "aarch64")
    arithmetic.why_not_portable.cache_clear()
    yield
    monkeypatch.undo()
    arithmetic.why_not_portable.cache_clear()


def test_a_machine_that_cannot_be_portable_says_so_and_its_runs_are_native(elsewhere, tmp_path, capsys):
    resolved = resolve(Request("lif", "yin-yang", limit=20), find_methods(), find_tasks(), workspace_at(tmp_path))
    assert resolved.configuration["arithmetic"] == "native"
    assert "its processor is aarch64, not x86-64" in capsys.readouterr().err


def test_arithmetic_is_part_of_the_key_and_of_the_command(tmp_path):
    tables = find_methods(), find_tasks(), workspace_at(tmp_path)
    portable, native = (resolve(Request("lif", "digits", arithmetic=kind), *tables) for kind in ("portable", "native"))
    assert portable.key != native.key
    assert "--arithmetic native" in native.command and "--arithmetic" not in portable.command


def test_a_native_process_started_from_a_portable_one_has_none_of_its_settings():
    assert arithmetic.current() == "portable"
    ours = arithmetic.environment("native")
    assert "MKL_CBWR" not in ours and arithmetic.MARK not in ours and ours["PATH"] == os.environ["PATH"]


FORCED = """
import os
from delrec_bench import arithmetic
os.environ.update(arithmetic.environment("portable") | {"MKL_CBWR": "AVX2", "ATEN_CPU_CAPABILITY": "default"})
try:
    arithmetic.prepare("portable", 1)
except arithmetic.BenchError as error:
    print(error)
"""


def test_settings_that_another_undid_are_named():
    said = subprocess.run([sys.executable, "-c", FORCED], capture_output=True, text=True, check=True).stdout
    assert "portable arithmetic is not active" in said
    assert "torch computes at DEFAULT, not AVX2" in said
    assert "MKL is at branch" in said

"""One study run three ways, with a worker killed in one of them: the same records, and the same page byte for byte."""

import json
from pathlib import Path

import pytest
from delrec_bench import app
from delrec_bench.records import load_records, same_record

pytestmark = pytest.mark.slow
STUDY = """
summary = "the same wherever it runs"
methods = ["dies-once", "lif", "counts-only"]
tasks = ["digits"]
repetitions = 2

[quick]

[quick.set]
training.epochs = 3
training.batch = 16
task.limit = 32
task.test_limit = 30

[quick.set.lif]
network.hidden = [6]
"""
METHOD = """
import os, signal
from pathlib import Path
from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.methods.method import Method
from delrec_bench.runs import folder

folder.CHECKPOINT_SECONDS = 0.0
MARKER = Path(__file__).with_name("died")


class Mine(Network):
    updates = 0

    def penalty(self):
        Mine.updates += 1
        if Mine.updates == 5 and not MARKER.exists():  # in its third epoch, once
            MARKER.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.0


def build(settings, channels, classes):
    return Mine(NetworkConfig(inputs=channels, classes=classes, hidden=(6,), engine=settings["engine"]))


METHODS = [Method("dies-once", "one whose process is killed once", "these tests", "weights", build=build)]
"""


@pytest.fixture
def call(tmp_path, capsys):
    """`reproduce` of the study with a root and more words; what it says as JSON, and on stderr."""
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "dies_once.py").write_text(METHOD)
    (tmp_path / "ways.toml").write_text(STUDY)
    common = ["--study", str(tmp_path / "ways.toml"), "--methods", str(tmp_path / "methods"), "--no-latency", "--json"]

    def called(root: Path, *words: str) -> tuple[dict, str]:
        root.mkdir(exist_ok=True)
        code = app.main(["reproduce", *common, "--root", str(root), *words])
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out), err

    return called


def page(root: Path) -> dict[str, bytes]:
    """The page's files."""
    return {p.name: p.read_bytes() for p in (root / "out" / "ways").iterdir()}


def test_processes_dask_with_a_killed_worker_and_two_folders_give_the_same_page(tmp_path, call, capsys):
    died = tmp_path / "methods" / "died"
    died.touch()
    local, dask, one, two, joined = (tmp_path / name for name in ("local", "dask", "one", "two", "joined ü"))
    whole, _ = call(local, "--jobs", "2")
    assert (whole["trained"], whole["complete"]) == (6, True)
    died.unlink()
    assert call(dask, "--executor", "dask", "--jobs", "2")[0]["trained"] == 6
    assert died.exists()
    call(one, "--jobs", "1", "--only-methods", "lif,counts-only")
    call(two, "--jobs", "1", "--only-methods", "dies-once")
    joined.mkdir()
    assert app.main(["collect", str(one), str(two), "--root", str(joined)]) == 0
    capsys.readouterr()
    assert call(joined)[0]["trained"] == 0
    records = [load_records(root / "runs") for root in (local, dask, joined)]
    assert [len(found) for found in records] == [6, 6, 6]
    for other in records[1:]:
        assert all(same_record(a, b) for a, b in zip(records[0], other, strict=True))
    assert any(r.measured.get("resumed_after") for r in records[1])
    pages = [page(root) for root in (local, dask, joined)]
    assert len(pages[0]) >= 5 and b"dies-once" in pages[0]["ways.csv"]
    for other in pages[1:]:
        assert other == pages[0]

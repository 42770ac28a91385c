"""data.dvc is a file DVC works with: per-file status, push and pull through a folder, nothing else needed."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml
from delrec_bench.data.dvc_files import listed
from delrec_bench.data.generated import RECIPES
from delrec_bench.data.shelf import make
from delrec_bench.workspace import find_workspace, workspace_at

ROOT = find_workspace().root
QUIET = {"DVC_NO_ANALYTICS": "true", "DO_NOT_TRACK": "1"}
FILE = "data/digits/digits.csv.gz"


def test_every_file_has_digest_source_licence_and_citation():
    entries = listed(find_workspace())
    for entry in entries.values():
        assert len(entry.md5) == 32 and entry.meta.source and entry.meta.licence and entry.meta.citation, entry.path
    embedded = {f"data/{task}/{name}" for task, recipe in RECIPES.items() for name in recipe.splits}
    assert embedded < set(entries)
    # Without `hash: md5` DVC would take the digest for its old one, which changes line ends.
    assert all(out["hash"] == "md5" for out in yaml.safe_load((ROOT / "data.dvc").read_text())["outs"])


def test_the_zips_have_the_digests_that_tonic_checks():
    from tonic.datasets import SHD, SSC

    entries = listed(find_workspace())
    for task, source in (("shd", SHD), ("ssc", SSC)):
        for split in ("train", "valid", "test") if task == "ssc" else ("train", "test"):
            entry = entries[f"data/{task}/{task}_{split}.h5.zip"]
            assert entry.md5 == getattr(source, f"{split}_md5")
            assert entry.meta.url == source.base_url + getattr(source, f"{split}_zip")


def test_no_analytics_and_no_remote_are_committed():
    text = (ROOT / ".dvc" / "config").read_text()
    assert "analytics = false" in text and "remote" not in text


@pytest.mark.slow
def test_status_push_and_pull_work_file_by_file(tmp_path):
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / ".dvc", checkout / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "*.local"))
    for name in ("data.dvc", "dvc.yaml", ".gitignore"):
        shutil.copy(ROOT / name, checkout)
    subprocess.run(["git", "init", "-q"], cwd=checkout, check=True)

    def dvc(*arguments):
        command = [sys.executable, "-m", "dvc", *arguments]
        environment = {**os.environ, **QUIET}
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    make(workspace_at(checkout), "digits")
    told = dvc("data", "status", "--json")
    assert FILE not in yaml.safe_load(told).get("uncommitted", {}).get("modified", [])
    before = yaml.safe_load((checkout / "data.dvc").read_text())
    dvc("remote", "add", "-d", "folder", str(tmp_path / "remote"))
    dvc("add", FILE)
    assert yaml.safe_load((checkout / "data.dvc").read_text()) == before  # digests and meta as they were
    dvc("push", FILE)
    (checkout / FILE).unlink()
    shutil.rmtree(checkout / ".dvc" / "cache")
    dvc("pull", FILE)
    assert (checkout / FILE).is_file()
    assert "delrec-bench report" in dvc("repro", "--dry")

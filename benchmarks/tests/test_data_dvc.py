"""The .dvc files and dvc.yaml are files that DVC works with, and say what every file is."""

import hashlib
import shutil
import subprocess
import sys

import pytest
import yaml
from delrec_bench.data.generated import RECIPES
from delrec_bench.data.shelf import listed, make
from delrec_bench.workspace import find_workspace, workspace_at

ROOT = find_workspace().root
FILE = "data/digits/digits.csv.gz"
LISTS = (ROOT / "data.dvc", *(ROOT / "data").glob("*.dvc"))


def test_every_file_has_source_licence_and_citation_and_the_root_file_lists_what_every_clone_makes():
    outs = [out for file in LISTS for out in yaml.safe_load(file.read_text())["outs"]]
    assert len(outs) == len(listed(find_workspace()))
    for out in outs:
        assert all(out["meta"].get(name) for name in ("source", "licence", "citation")), out["path"]
        assert out["hash"] == "md5"  # without it DVC would take the digest for its old one, which changes line ends
    root = {out["path"] for out in yaml.safe_load((ROOT / "data.dvc").read_text())["outs"]}
    assert root == {f"data/{task}/{name}" for task, recipe in RECIPES.items() for name in recipe.splits} | {FILE}
    for entry in listed(find_workspace()).values():
        assert entry.path in root or entry.url, entry.path


def test_the_zips_have_the_digests_that_tonic_checks():
    from tonic.datasets import SHD, SSC

    entries = listed(find_workspace())
    for task, source, splits in (("shd", SHD, ("train", "test")), ("ssc", SSC, ("train", "valid", "test"))):
        for split in splits:
            entry = entries[f"data/{task}/{task}_{split}.h5.zip"]
            assert entry.md5 == getattr(source, f"{split}_md5")
            assert entry.url == source.base_url + getattr(source, f"{split}_zip")


@pytest.mark.slow
def test_dvc_update_fetches_an_official_file_from_its_address(checkout):
    folder, dvc = checkout
    (folder / "served").mkdir()
    (folder / "served" / "shd_train.h5.zip").write_bytes(b"a corpus")
    file = folder / "data" / "shd-train.dvc"
    text = file.read_text()
    assert "https://zenkelab.org/datasets" in text
    file.write_text(text.replace("https://zenkelab.org/datasets", str(folder / "served")))
    dvc("update", str(file))
    assert (folder / "data" / "shd" / "shd_train.h5.zip").read_bytes() == b"a corpus"
    (out,) = yaml.safe_load(file.read_text())["outs"]
    assert out["md5"] == hashlib.md5(b"a corpus").hexdigest() and out["meta"]["licence"] == "CC BY 4.0"


def test_the_stage_depends_on_what_is_there():
    (stage,) = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    assert all((ROOT / name).exists() for name in (*stage["deps"], *stage["params"][0]))


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with DVC set up, whose data.dvc lists one file; and DVC's command line in it."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "*.local"))
    for name in ("dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "data", folder / "data", ignore=lambda at, names: {n for n in names if n[-4:] != ".dvc"})
    outs = [out for out in yaml.safe_load((ROOT / "data.dvc").read_text())["outs"] if out["path"] == FILE]
    (folder / "data.dvc").write_text(yaml.safe_dump({"outs": outs}, sort_keys=False))
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    for name in ("DVC_NO_ANALYTICS", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "1")

    def dvc(*arguments):
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return folder, dvc


@pytest.mark.slow
def test_dvc_takes_what_is_made_for_the_listed_files(checkout):
    folder, dvc = checkout
    before = (folder / "data.dvc").read_text()
    assert "not in cache" in dvc("status", "data.dvc")
    make(workspace_at(folder), "digits")
    dvc("commit", "--force", "data.dvc")
    assert "up to date" in dvc("status", "data.dvc")  # SHD, SSC and MNIST are absent, and stop nobody
    assert yaml.safe_load((folder / "data.dvc").read_text()) == yaml.safe_load(before)


@pytest.mark.slow
def test_metrics_and_plots_of_the_published_page_are_shown_and_compared(checkout):
    folder, dvc = checkout
    page = folder / "reports" / "leaderboard"
    page.mkdir(parents=True)
    (page / "metrics.json").write_text('{"digits": {"lif": 0.32}}')
    (page / "leaderboard.csv").write_text("task,method,score_mean,parameters_total\ndigits,lif,0.32,9000\n")
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "page"]
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    subprocess.run(commit, cwd=folder, check=True)
    (page / "metrics.json").write_text('{"digits": {"lif": 0.35}}')
    assert "0.35" in dvc("metrics", "show")
    assert "0.03" in dvc("metrics", "diff")
    dvc("plots", "show")
    assert "parameters_total" in (folder / "dvc_plots" / "index.html").read_text()

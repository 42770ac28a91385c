"""Compiled kernels on disk: read only if they are whole and ours, made again without a word if not."""

import os
import pickle
import stat
from pathlib import Path
from unittest.mock import Mock

import pytest
from delrec.engines.cpu import cache

pytestmark = pytest.mark.filterwarnings("error")


def add_one(x):
    return x + 1.0


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """A cache of its own, and no memory of which folder was in use."""
    monkeypatch.setenv("DELREC_CACHE", str(tmp_path / "cache"))
    cache.cache_folder.cache_clear()
    yield tmp_path / "cache"
    cache.cache_folder.cache_clear()


def call():
    """Run the kernel as a new process would; return whether it was compiled."""
    kernel = cache.entry(add_one)
    assert kernel(1.5) == 2.5
    return not sum(kernel.stats.cache_hits.values())


def test_a_kernel_is_compiled_once(folder):
    assert call()
    assert not call()
    (path,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["empty", "cut", "garbage"])
def test_a_file_that_is_not_whole_is_made_again(kind, folder):
    call()
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "garbage": b"\x80garbage" * 99}[kind])
    assert call() and not call()


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="modes of POSIX")
@pytest.mark.parametrize("kind", ["others may write it", "it belongs to another user"])
def test_a_file_of_others_in_our_folder_is_not_read(kind, folder, tmp_path, monkeypatch):
    call()
    (path,) = folder.iterdir()
    target = tmp_path / "unpickled"
    path.write_bytes(pickle.dumps(Bomb(str(target))))
    if kind == "others may write it":
        path.chmod(0o666)
    else:
        stat_of = Path.stat

        def other(self, **options):
            found = stat_of(self, **options)
            return os.stat_result((*found[:4], found.st_uid + (self == path), *found[5:]))

        monkeypatch.setattr(Path, "stat", other)
    assert call() and not target.exists()


def test_a_full_disk_leaves_nothing(monkeypatch, folder):
    with monkeypatch.context() as patch:
        patch.setattr(cache, "serialize", Mock(**{"dumps.side_effect": OSError(28, "No space left on device")}))
        assert call() and call()
    assert not list(folder.iterdir())
    assert call() and not call()


def test_another_source_or_version_is_another_file(monkeypatch, folder):
    call()
    monkeypatch.setattr(cache, "sources", lambda: "edited")
    assert call()
    assert len(list(folder.iterdir())) == 2


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="modes of POSIX")
def test_a_folder_that_others_may_write_is_not_trusted(folder):
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others may write in it.*DELREC_CACHE") as seen:
        call()
    assert seen[0].filename == __file__
    assert not list(folder.iterdir())
    call()  # without another warning


def test_a_folder_that_cannot_be_made_is_named_once_and_nothing_is_kept(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DELREC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(RuntimeWarning, match="every process compiles its own"):
        assert call()
    assert call()


def test_no_home_is_no_error(monkeypatch):
    monkeypatch.delenv("DELREC_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", Mock(side_effect=RuntimeError("Could not determine home directory.")))
    with pytest.warns(RuntimeWarning, match="Could not determine home"):
        assert call()

"""Which runs belong to a study: what several processes note at once is all kept, and a damaged note is named."""

import multiprocessing

import pytest
from delrec_bench.errors import BenchError
from delrec_bench.studies.membership import assigned, memberships, remember_members, remember_search
from delrec_bench.workspace import workspace_at

from benchmarks.tests import made_up

SEARCH = {"trials": 2, "trial": 1, "key": "t", "values": {}, "scores": [0.1, 0.2], "space": "abc"}


def note(root, first):
    workspace = workspace_at(root)
    for number in range(first, first + 50):
        remember_members(workspace, "mine", [f"{number:064x}"])
        remember_search(workspace, "mine", f"search {number}", SEARCH, [f"{1000 + number:064x}"])


def test_two_processes_that_note_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=note, args=(tmp_path, first)) for first in (0, 50, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    mine = memberships(workspace_at(tmp_path))["mine"]
    assert mine.keys == {f"{n:064x}" for n in (*range(150), *range(1000, 1150))}
    assert len(mine.search) == 150


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b'{"a": 1}', b"\xff", b"[" * 5000, b'["' + b"a" * 9])
@pytest.mark.parametrize("folder", [".studies", ".searches"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, folder, content):
    workspace = workspace_at(tmp_path)
    remember_search(workspace, "mine", "a search", SEARCH, ["a" * 64])
    path = workspace.runs / folder / "mine.json"
    path.write_bytes(content)
    for act in (lambda: memberships(workspace), lambda: remember_search(workspace, "mine", "another", SEARCH, [])):
        with pytest.raises(BenchError, match=r"mine\.json is damaged .* delete it and run `reproduce` again"):
            act()
    path.unlink()
    remember_search(workspace, "mine", "a search", SEARCH, ["a" * 64])
    assert memberships(workspace)["mine"].search == {"a" * 64: SEARCH}


def test_a_run_that_two_studies_share_is_the_pages_own_with_its_search(tmp_path):
    workspace, record = workspace_at(tmp_path), made_up.record("lif", "digits", 0)
    remember_members(workspace, "other", [record.key])
    remember_search(workspace, "mine", "a search", SEARCH, [record.key])
    (of_mine,) = assigned([record], workspace, "mine")
    assert of_mine.study == "mine" and of_mine.search == SEARCH
    (of_none,) = assigned([record], workspace)
    assert of_none.study == "mine", "the first by name"
    (of_other,) = assigned([record], workspace, "other")
    assert of_other.study == "other" and of_other.search is None

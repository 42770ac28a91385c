"""Which runs belong to a study: what several processes note at once is all kept, and a damaged note is named."""

import multiprocessing

import pytest
from delrec_bench.errors import BenchError
from delrec_bench.studies.membership import memberships, remember_members, study_of
from delrec_bench.workspace import workspace_at


def note(root, first):
    for number in range(first, first + 50):
        remember_members(workspace_at(root), "mine", [f"{number:064x}"])


def test_two_processes_that_note_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=note, args=(tmp_path, first)) for first in (0, 50, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert memberships(workspace_at(tmp_path))["mine"] == {f"{n:064x}" for n in range(150)}


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b'{"a": 1}', b"\xff", b"[" * 5000, b'["' + b"a" * 9])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, content):
    workspace = workspace_at(tmp_path)
    remember_members(workspace, "mine", ["a" * 64])
    path = workspace.runs / ".studies" / "mine.json"
    path.write_bytes(content)
    for act in (lambda: memberships(workspace), lambda: remember_members(workspace, "mine", [])):
        with pytest.raises(BenchError, match=r"mine\.json is damaged .* delete it and run `reproduce` again"):
            act()
    path.unlink()
    remember_members(workspace, "mine", ["a" * 64])
    assert memberships(workspace)["mine"] == {"a" * 64}


def test_a_run_that_two_studies_share_is_the_first_ones(tmp_path):
    workspace = workspace_at(tmp_path)
    for study in ("other", "mine"):
        remember_members(workspace, study, ["a" * 64])
    found = [study_of(workspace, first)["a" * 64] for first in ("other", "mine", None)]
    assert found == ["other", "mine", "mine"]

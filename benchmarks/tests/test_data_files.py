"""`data status|make|fetch|verify`: what is where, and downloads that arrive whole and right or not at all."""

import gzip
import hashlib
import io
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from delrec_bench.data.files import MNIST, digest_of, folder_digest, reading
from delrec_bench.data.shelf import as_text, fetch, listed, make, status
from delrec_bench.errors import BenchError
from delrec_bench.workspace import find_workspace, workspace_at
from fuzzing import damaged, fuzz
from hypothesis import given
from hypothesis import strategies as st

CONTENT = b"spikes " * 5000


def zipped(name="shd_train.h5", content=CONTENT, how=zipfile.ZIP_STORED):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", how) as archive:
        archive.writestr(name, content)
    return memory.getvalue()


ARCHIVES = {"shd_train.h5.zip": zipped(), "shd_test.h5.zip": zipped("shd_test.h5", CONTENT[::-1])}
NOWHERE = "http://127.0.0.1:9"


def list_zips(workspace, url=NOWHERE, archives=ARCHIVES):
    for number, (name, content) in enumerate(archives.items()):
        list_official(workspace, number, "shd", name, content, url)


def list_official(workspace, number, task, name, content, url):
    out = {"path": f"{task}/{name}", "md5": hashlib.md5(content).hexdigest(), "size": len(content)}
    listing = {"frozen": True, "deps": [{"path": f"{url}/{name}"}], "outs": [out]}
    (workspace.data / f"{task}-{number}.dvc").write_text(yaml.safe_dump(listing))


@pytest.fixture
def workspace(tmp_path):
    """A root whose .dvc files list two zips and an embedded file."""
    (tmp_path / "data").mkdir()
    list_zips(workspace_at(tmp_path))
    digits = next(e for e in listed(find_workspace()).values() if e.task == "digits")
    (tmp_path / "data.dvc").write_text(yaml.safe_dump({"outs": [{"path": digits.path, "md5": digits.md5}]}))
    return workspace_at(tmp_path)


@pytest.fixture
def server(workspace):
    """A server on this machine, where the .dvc files lead; `server[name] = (status, headers, body)` is its answer."""
    answers = {name: (200, len(body), body) for name, body in ARCHIVES.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            code, stated, body, *place = answers.get(self.path.lstrip("/"), (404, 0, b""))
            self.send_response(code)
            for address in place:
                self.send_header("Location", address)
            self.send_header("Content-Length", str(stated))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}).start()
        list_zips(workspace, f"http://127.0.0.1:{running.server_port}")
        yield answers
        running.shutdown()


def kept(workspace):
    folder = workspace.data / "shd"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_good_download_is_checked_unpacked_and_not_repeated(workspace, server):
    paths = fetch(workspace, "shd")
    assert [path.name for path in paths] == ["shd_train.h5", "shd_test.h5"]
    assert paths[0].read_bytes() == CONTENT
    list_zips(workspace)
    assert fetch(workspace, "shd") == paths
    paths[0].unlink()  # the zip is still there: unpacked again without network
    assert fetch(workspace, "shd") == paths


def test_an_unpacked_file_of_mnist_is_not_fetched_again(workspace, monkeypatch):
    name = "t10k-labels-idx1-ubyte"
    monkeypatch.setitem(MNIST, name, hashlib.md5(CONTENT).hexdigest())
    list_official(workspace, 9, "ps-mnist", f"{name}.gz", gzip.compress(CONTENT), NOWHERE)
    path = workspace.data / "ps-mnist" / name
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert fetch(workspace, "ps-mnist") == [path]
    path.write_bytes(b"cut")
    with pytest.raises(BenchError, match=f"{name}: WRONG: .*; delete it and fetch again"):  # it is read before a .gz
        fetch(workspace, "ps-mnist")
    path.unlink()
    path.with_suffix(".gz").write_bytes(b"cut")
    assert [row.path.name for row in status(workspace) if row.wrong] == [f"{name}.gz"]


def test_what_is_no_file_is_wrong_and_stops_no_other(workspace):
    make(workspace, "digits")
    (workspace.data / "shd" / "shd_train.h5").mkdir(parents=True)
    os.mkfifo(workspace.data / "shd" / "shd_test.h5")  # without a writer
    assert [row.path.name for row in status(workspace) if row.wrong] == ["shd_train.h5", "shd_test.h5"]
    assert as_text(status(workspace)).count("WRONG: not a file; remove it") == 2


def test_what_cannot_be_opened_is_named(workspace):
    with pytest.raises(BenchError, match=r": cannot be opened \(Is a directory\)"), reading(workspace.data):
        pass


WHOLE = ARCHIVES["shd_train.h5.zip"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, len(WHOLE), WHOLE[:-100]), "shd_train.h5.zip: .*try again"),
        ((200, len(WHOLE), b"x" + WHOLE[1:]), "MD5 hash .* does not match the known hash.*try again"),
        ((404, 0, b""), "404.*try again"),
        ((302, 0, b"", f"file://{__file__}"), "No connection adapters.*save the file as"),
        (None, "refused.*save the file as"),
    ],
)
def test_a_bad_download_is_one_clear_line_and_leaves_nothing(workspace, server, answer, message):
    server["shd_train.h5.zip"] = answer
    if answer is None:
        list_zips(workspace)
    with pytest.raises(BenchError, match=message) as caught:
        fetch(workspace, "shd")
    assert "\n" not in str(caught.value) and kept(workspace) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (zipped("other.h5"), "does not contain shd_train.h5"),
        (zipped(content=bytes(1 << 20), how=zipfile.ZIP_DEFLATED), "or one that is too large"),
        (zipped()[:-30], "incomplete zip"),
    ],
)
def test_a_zip_that_holds_another_file_or_grows_is_refused(workspace, body, message):
    list_zips(workspace, archives={"shd_train.h5.zip": body})
    (workspace.data / "shd").mkdir()
    (workspace.data / "shd" / "shd_train.h5.zip").write_bytes(body)
    with pytest.raises(BenchError, match=message):
        fetch(workspace, "shd")
    assert kept(workspace) == ["shd_train.h5.zip"]


def test_status_prints_the_exact_path_and_what_is_there(workspace):
    text = as_text(status(workspace))
    for name in ("shd/shd_train.h5", "shd/shd_test.h5", "digits/digits.csv.gz"):
        assert f"{workspace.data / name}" in text
    assert text.count("missing") == 3 and "data fetch shd" in text
    assert make(workspace, "digits") == [workspace.data / "digits" / "digits.csv.gz"]
    assert make(workspace, "digits") == []
    (workspace.data / "shd").mkdir()
    (workspace.data / "shd" / "shd_train.h5").write_bytes(CONTENT)
    text = as_text(status(workspace))
    assert f"present, md5 {hashlib.md5(CONTENT).hexdigest()} (not published" in text


def test_verify_reads_again_what_status_remembers(workspace, monkeypatch):
    make(workspace, "digits")
    assert status(workspace)[0].found == "correct"
    lost = hashlib.md5(b"a bit was lost, of which the disk says nothing")
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: lost)
    assert status(workspace)[0].found == "correct"
    assert status(workspace, fresh=True)[0].found.startswith("WRONG: md5")


def written_aside(path, content):
    other = path.with_name("aside")
    other.write_bytes(content)
    other.replace(path)


@pytest.mark.parametrize("write", [Path.write_bytes, written_aside])
@pytest.mark.parametrize("digest", [digest_of, lambda path, workspace: folder_digest(path.parent, workspace)])
def test_a_digest_is_made_once_until_the_content_changes_even_if_size_and_time_do_not(
    digest, write, workspace, tmp_path, monkeypatch
):
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_bytes(b"one")
    first, facts = digest(path, workspace), path.stat()
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", lambda *a: pytest.fail("read again"))
        assert digest(path, workspace) == first
    write(path, b"two")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert path.stat().st_mtime_ns == facts.st_mtime_ns and path.stat().st_size == facts.st_size
    assert digest(path, workspace) != first


MD5 = "0" * 32  # digits alone: text all the same
# doubled thirty times it would fill any memory
BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nouts: [{path: shd/file, md5: *b}]"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((text, "not a list of outs") for text in ("outs: [", "outs: 3\n", "- 3", "outs: " + "[" * 520 + "]" * 520)),
        (BOMB, r"not a list of outs .* \(it contains an alias"),
        *(
            ({"path": path}, "path is '.* pattern")
            for path in ("data/shd/../../../victim", "/etc/victim", "data/shd//file", "data/shd/a\\..\\b", "data/file")
        ),
        ({"md5": "0" * 31}, "md5 is"),
        ({"md5": None}, "md5 is"),
        ({"url": "file:///etc/passwd"}, "url is 'file:///etc/passwd'"),
        ({"meta": {"content": "0"}}, "meta.content is '0'"),
    ],
)
def test_a_file_that_does_not_parse_or_leads_elsewhere_names_file_field_and_value(workspace, content, message):
    entry = {"path": "data/shd/file", "md5": MD5, "size": 3}
    text = content if isinstance(content, str) else yaml.safe_dump({"outs": [entry | content]})
    (workspace.root / "data.dvc").write_text(text)
    with pytest.raises(BenchError, match=f"data.dvc: {message}") as caught:
        listed(workspace)
    assert "\n" not in str(caught.value)


@fuzz(300)
@given(st.data())
def test_whatever_a_dvc_file_holds_only_our_own_error_comes(workspace, data):
    pieces = (b"!!int ''", b"&a [*a]", b"\n? {", b"2001-99-99", b"[" * 2000)
    text = (find_workspace().root / "data.dvc").read_bytes()
    (workspace.root / "data.dvc").write_bytes(damaged(data, text, *pieces))
    try:
        status(workspace)
    except BenchError as error:
        assert "data.dvc: " in str(error) and "\n" not in str(error)

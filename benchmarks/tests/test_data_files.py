"""`data status|make|fetch|verify`: what is where, and downloads that arrive whole and right or not at all."""

import hashlib
import io
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from delrec_bench.data.dvc_files import listed
from delrec_bench.data.files import digest_of, folder_digest
from delrec_bench.data.shelf import advice, as_text, fetch, make, status
from delrec_bench.errors import BenchError
from delrec_bench.workspace import find_workspace, workspace_at
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

CONTENT = b"spikes " * 5000


def zipped(name="shd_train.h5", content=CONTENT, how=zipfile.ZIP_STORED):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", how) as archive:
        archive.writestr(name, content)
    return memory.getvalue()


ARCHIVES = {"shd_train.h5.zip": zipped(), "shd_test.h5.zip": zipped("shd_test.h5", CONTENT[::-1])}


@pytest.fixture
def workspace(tmp_path):
    """A root whose .dvc files list two zips and an embedded file."""
    (tmp_path / "data").mkdir()
    for number, (name, content) in enumerate(ARCHIVES.items()):
        out = {"path": f"shd/{name}", "md5": hashlib.md5(content).hexdigest(), "size": len(content)}
        listing = {"frozen": True, "deps": [{"path": f"http://127.0.0.1:9/{name}"}], "outs": [out]}
        (tmp_path / "data" / f"shd-{number}.dvc").write_text(yaml.safe_dump(listing))
    digits = next(e for e in listed(find_workspace()).values() if e.task == "digits")
    (tmp_path / "data.dvc").write_text(yaml.safe_dump({"outs": [{"path": digits.path, "md5": digits.md5}]}))
    return workspace_at(tmp_path)


@pytest.fixture
def server():
    """A server on this machine; `serve[name] = (status, headers, body)` is its answer."""
    answers = {}

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

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    answers["url"] = f"http://127.0.0.1:{running.server_port}"
    for name, body in ARCHIVES.items():
        answers[name] = (200, len(body), body)
    yield answers
    running.shutdown()
    running.server_close()
    thread.join()


def kept(workspace):
    folder = workspace.data / "shd"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_good_download_is_checked_unpacked_and_not_repeated(workspace, server, capsys):
    paths = fetch(workspace, "shd", server["url"])
    assert [path.name for path in paths] == ["shd_train.h5", "shd_test.h5"]
    assert paths[0].read_bytes() == CONTENT
    assert "shd_train.h5.zip" in capsys.readouterr().err  # progress
    server.clear()
    assert fetch(workspace, "shd", "http://127.0.0.1:9") == paths
    paths[0].unlink()  # the zip is still there: unpacked again without network
    assert fetch(workspace, "shd", "http://127.0.0.1:9") == paths


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda body: (200, len(body), body[:-100]), ".* bytes with md5 .* but its .dvc file says"),
        (lambda body: (200, len(body), b"x" + body[1:]), ".* bytes with md5 .* but its .dvc file says"),
        (lambda body: (200, "many", body * 50), "longer than .* bytes"),
        (lambda body: (404, 0, b""), "download failed .*404"),
    ],
)
def test_a_bad_download_is_one_clear_line_and_leaves_nothing(workspace, server, answer, message):
    server["shd_train.h5.zip"] = answer(ARCHIVES["shd_train.h5.zip"])
    with pytest.raises(BenchError, match=f"shd_train.h5.zip: {message}") as caught:
        fetch(workspace, "shd", server["url"])
    assert "\n" not in str(caught.value) and kept(workspace) == []


def test_no_server_is_one_clear_line(workspace):
    with pytest.raises(BenchError, match="download failed .*refused.*save the file as"):
        fetch(workspace, "shd")
    assert kept(workspace) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (zipped("other.h5"), "does not contain shd_train.h5, or one that is too large"),
        (
            zipped(content=bytes(1 << 20), how=zipfile.ZIP_DEFLATED),
            "does not contain shd_train.h5, or one that is too large",
        ),
        (zipped()[:-30], "incomplete zip"),
    ],
)
def test_a_zip_that_holds_another_file_or_grows_is_refused(workspace, server, body, message):
    path = workspace.data / "shd" / "shd_train.h5.zip"
    listing = workspace.data / "shd-0.dvc"
    old = hashlib.md5(ARCHIVES[path.name]).hexdigest()
    listing.write_text(listing.read_text().replace(old, hashlib.md5(body).hexdigest()))
    server[path.name] = (200, len(body), body)
    with pytest.raises(BenchError, match=message):
        fetch(workspace, "shd", server["url"])
    assert kept(workspace) == ["shd_train.h5.zip"]


def test_unknown_tasks_name_the_nearest(workspace):
    with pytest.raises(BenchError, match="'sdh' has no file to download; did you mean 'shd'"):
        fetch(workspace, "sdh")
    with pytest.raises(BenchError, match="'digit' has no file to generate; did you mean 'digits'"):
        make(workspace, "digit")


def test_status_prints_the_exact_path_and_what_is_there(workspace, server):
    text = as_text(status(workspace)) + advice(status(workspace))
    for name in ("shd/shd_train.h5", "shd/shd_test.h5", "digits/digits.csv.gz"):
        assert f"{workspace.data / name}" in text
    assert text.count("missing") == 3 and "data fetch shd" in text
    assert make(workspace, "digits") == [workspace.data / "digits" / "digits.csv.gz"]
    assert make(workspace, "digits") == []
    (workspace.data / "shd").mkdir()
    (workspace.data / "shd" / "shd_train.h5").write_bytes(CONTENT)
    (workspace.data / "shd" / "shd_test.h5.zip").write_bytes(ARCHIVES["shd_test.h5.zip"])
    text = as_text(status(workspace))
    assert f"present, md5 {hashlib.md5(CONTENT).hexdigest()} (not published" in text
    assert "shd_test.h5.zip is present (md5 correct)" in text


def test_verify_reads_again_what_status_remembers(workspace, monkeypatch):
    (path,) = make(workspace, "digits")
    assert status(workspace)[0].found == "correct"
    facts = path.stat()
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    # a disk that lost a bit says nothing of it
    stat = type(path).stat
    monkeypatch.setattr(type(path), "stat", lambda self, **how: facts if self == path else stat(self, **how))
    assert not status(workspace)[0].wrong
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
        patch.setattr("delrec_bench.data.files.file_digest", lambda *a: pytest.fail("read again"))
        assert digest(path, workspace) == first
    write(path, b"two")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert path.stat().st_mtime_ns == facts.st_mtime_ns and path.stat().st_size == facts.st_size
    assert digest(path, workspace) != first


def test_a_data_dvc_that_does_not_parse_is_one_clear_line(workspace):
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nouts: [*b, *b]"  # doubled thirty times it would fill any memory
    for text in ("outs: [", "outs: 3\n", "- 3", "outs: " + "[" * 5000, bomb):
        (workspace.root / "data.dvc").write_text(text)
        with pytest.raises(BenchError, match=r"data.dvc: not a list of outs .* restore it from git"):
            status(workspace)


MD5 = "0" * 32  # digits alone: text all the same


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "data/shd/../../../victim"}, "path is 'data/shd/../../../victim'"),
        ({"path": "/etc/victim"}, "path is '/etc/victim'"),
        ({"path": "data/shd//file"}, "path is"),
        ({"path": "data/shd/a\\..\\b"}, "path is"),
        ({"path": "runs/shd/file"}, "path is 'runs/shd/file'; it must be data/TASK/FILE"),
        ({"path": "data/file"}, "path is"),
        ({"md5": "0" * 31}, "md5 is"),
        ({"md5": None}, "md5 is"),
        ({"size": -1}, "size is '-1'"),
        ({"url": "file:///etc/passwd"}, "url is 'file:///etc/passwd'.*http:// or https://"),
        ({"url": "ftp://host/file"}, "url is"),
        ({"meta": {"content": "0"}}, "meta.content is '0'"),
    ],
)
def test_an_entry_that_leads_elsewhere_or_is_none_names_file_field_and_value(workspace, changes, message):
    entry = {"path": "data/shd/file", "md5": MD5, "size": 3} | changes
    (workspace.root / "data.dvc").write_text(yaml.safe_dump({"outs": [entry]}))
    with pytest.raises(BenchError, match=f"data.dvc: {message}") as caught:
        listed(workspace)
    assert "\n" not in str(caught.value)


def test_official_sets_have_a_file_of_their_own_and_nothing_is_listed_twice(workspace):
    own = {"outs": [{"path": "mine/train.h5", "md5": MD5}]}
    (workspace.data / "mine.dvc").write_text(yaml.safe_dump(own))
    assert listed(workspace)["data/mine/train.h5"].md5 == MD5
    (workspace.data / "other.dvc").write_text(yaml.safe_dump(own))
    with pytest.raises(BenchError, match="other.dvc: lists 'data/mine/train.h5' a second time"):
        listed(workspace)


@fuzz(300)
@given(st.data())
def test_whatever_a_dvc_file_holds_only_our_own_error_comes(workspace, data):
    text = (find_workspace().root / "data.dvc").read_bytes()
    first, last = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, 3000))))
    piece = data.draw(
        st.one_of(
            st.binary(max_size=12), st.sampled_from([b"!!int ''", b"&a [*a]", b"\n? {", b"2001-99-99", b"[" * 2000])
        )
    )
    (workspace.root / "data.dvc").write_bytes(text[:first] + piece + text[last:])
    try:
        status(workspace)
    except BenchError as error:
        assert "data.dvc: " in str(error) and "\n" not in str(error)


def test_a_download_without_declared_size_or_from_a_file_is_refused(workspace, server, tmp_path):
    with pytest.raises(BenchError, match="not an http or https address"):
        fetch(workspace, "shd", f"file://{tmp_path}")
    for file in workspace.data.glob("*.dvc"):
        content = yaml.safe_load(file.read_text())
        del content["outs"][0]["size"]
        file.write_text(yaml.safe_dump(content))
    with pytest.raises(BenchError, match="has neither size nor meta.at_most"):
        fetch(workspace, "shd", server["url"])
    assert kept(workspace) == []


def test_a_redirection_to_a_file_of_this_machine_is_not_followed(workspace, server, tmp_path):
    (tmp_path / "secret").write_bytes(ARCHIVES["shd_train.h5.zip"])
    server["shd_train.h5.zip"] = (302, 0, b"", f"file://{tmp_path}/secret")
    with pytest.raises(BenchError, match="302"):
        fetch(workspace, "shd", server["url"])
    assert kept(workspace) == []

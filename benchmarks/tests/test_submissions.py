"""`submit`, `collect` and `audit` of somebody else's method: from archive to row, and hostile archives."""

import hashlib
import io
import json
import re
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from delrec_bench import app
from delrec_bench.app.pages import declaration
from delrec_bench.config import resolve
from delrec_bench.errors import BenchError
from delrec_bench.interchange import submission
from delrec_bench.interchange.submission import pack, read_submission
from delrec_bench.methods.base import find_methods
from delrec_bench.records import finished_record, load_records, record_text, write_record
from delrec_bench.report.content import build
from delrec_bench.studies.expansion import expand
from delrec_bench.tasks.base import find_tasks
from delrec_bench.workspace import workspace_at

ROOT = Path(__file__).parents[2]
LEAKY = re.search(
    r"<!-- method:start -->\n```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL
)[1]
MARK = "\nfrom pathlib import Path\nPath(__file__).with_name('executed').touch()\n"
STUDY = """
summary = "one method"
default = "quick"
[quick]
methods = ["leaky"]
tasks = ["digits"]
repetitions = 2
set = { hidden = [4], epochs = 1, limit = 40, test_limit = 30 }
"""
TINY = "--epochs 1 --limit 40 --set hidden=4 --set task.test_limit=30".split()
BY = "A. Naïf, Some Lab & Sons"


def root(folder):
    folder.mkdir()
    (folder / "data.dvc").write_text("outs: []\n")
    return folder


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Somebody's checkout with two runs of a method of theirs, and its archive."""
    base = tmp_path_factory.mktemp("theirs")
    folder = root(base / "checkout")
    methods = base / "my-methods"
    methods.mkdir()
    (methods / "leaky.py").write_text(LEAKY + MARK)
    own = ["--root", str(folder), "--methods", str(methods)]
    for repetition in "01":
        assert app.main(["run", "leaky", "digits", "--repetition", repetition, *TINY, *own]) == 0
    assert app.main(["run", "lif", "digits", *TINY, *own]) == 0
    archive = base / "leaky.zip"
    assert app.main(["submit", "leaky", "--by", BY, "--out", str(archive), *own]) == 0
    return folder, methods, archive


@pytest.fixture
def ours(tmp_path):
    return root(tmp_path / "ours")


def test_an_archive_holds_file_records_environment_and_digests_and_is_the_same_each_time(theirs, tmp_path):
    folder, methods, archive = theirs
    with zipfile.ZipFile(archive) as opened:
        manifest = json.loads(opened.read("manifest.json"))
        names = opened.namelist()
        assert opened.read("method.py").decode() == LEAKY + MARK
        for name, member in manifest["files"].items():
            content = opened.read(name)
            assert member == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    assert len(names) == 4 and set(names) == {"manifest.json", *manifest["files"]}
    assert manifest["by"] == BY and manifest["method"] == "leaky"
    assert {"torch", "numpy"} <= set(manifest["environment"]["distributions"]) and manifest["environment"]["versions"]
    words = ["submit", "leaky", "--by", BY, "--root", str(folder), "--methods", str(methods)]
    assert app.main(words) == 0
    assert (folder / "out" / "submissions" / "leaky.zip").read_bytes() == archive.read_bytes()
    assert finished_record(folder / "runs", names[2][8:-5]).provenance.get("submitter") is None


def test_a_method_without_runs_or_a_name_that_is_none_is_refused(theirs, tmp_path, capsys):
    folder, methods, _ = theirs
    own = ["--root", str(folder), "--methods", str(methods)]
    for words, said in (
        (["submit", "rlif", "--by", "Me"], "no finished run of 'rlif'; make some first: delrec-bench run rlif digits"),
        (["submit", "leeky", "--by", "Me"], "did you mean 'leaky'"),
        (["submit", "leaky", "--by", ""], "nobody is named: say who made it, --by NAME"),
        (["submit", "leaky", "--by", " "], "one line of printable text"),
        (["submit", "leaky", "--by", "a\nb"], "letters, digits, spaces"),
        (["submit", "leaky", "--by", "<b>A</b>"], "letters, digits, spaces"),
        (["submit", "leaky", "--by", "[A](x)"], "letters, digits, spaces"),
        (["submit", "leaky", "--by", "x" * 101], "at most 100 characters"),
    ):
        assert app.main([*words, *own, "--out", str(tmp_path / "no.zip")]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "no.zip").exists()


def test_what_is_collected_becomes_a_row_that_says_who_made_it_and_nothing_was_executed(theirs, ours, capsys):
    _, _, archive = theirs
    assert app.main(["collect", str(archive), "--root", str(ours)]) == 0
    said = capsys.readouterr().out
    laid = next((ours / "submissions").iterdir())
    assert "2 runs added" in said and f"its method was not executed: read submissions/{laid.name}/method.py" in said
    assert sorted(path.name for path in laid.iterdir()) == ["manifest.json", "method.py"]
    assert not list(ours.rglob("executed"))
    assert app.main(["collect", str(archive), "--root", str(ours), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["added"] == [] and len(again["same"]) == 2
    workspace = workspace_at(ours)
    records = load_records(workspace.runs)
    assert {r.provenance["submitter"] for r in records} == {BY} and len(records) == 2
    study = ours / "one.toml"
    study.write_text(STUDY)
    assert app.main(["report", "--study", str(study), "--root", str(ours)]) == 2  # nobody named the method's file
    assert "no method 'leaky'" in capsys.readouterr().err
    words = ["report", "--study", str(study), "--root", str(ours), "--methods", str(laid)]
    assert app.main(words) == 0
    assert (laid / "executed").exists()
    methods, tasks = find_methods([laid]), find_tasks()
    expanded = expand(str(study), None, methods, tasks)
    keys = [resolve(request, methods, tasks, workspace).key for request in expanded.requests]
    page = build(declaration(expanded, keys, methods, tasks, records), records, "records")
    (row,) = page.rows
    assert row["submitter"] == BY and row["n"] == 2
    assert "submitted by A. Naïf, Some Lab &amp; Sons" in (ours / "out" / "one" / "one.html").read_text()
    assert f"submitted by {BY}" in (ours / "out" / "one" / "one.md").read_text()


def test_a_run_of_ours_with_another_result_stops_the_collection_by_name(theirs, ours, capsys):
    folder, _, archive = theirs
    record = next(r for r in load_records(folder / "runs") if r.method == "leaky")
    own = ours / "runs" / record.key / "record.json"
    write_record(own, record)
    assert app.main(["collect", str(archive), "--root", str(ours)]) == 0  # the same result, whoever made it
    assert finished_record(ours / "runs", record.key).provenance.get("submitter") is None
    for path in (ours / "runs").glob("*/record.json"):
        path.unlink()
    history = [dict(entry) | {"loss": 1.0} for entry in record.history]
    write_record(own, record.changed(history=history))
    capsys.readouterr()
    assert app.main(["collect", str(archive), "--root", str(ours)]) == 2
    assert "leaky on digits, repetition" in (said := capsys.readouterr().err) and "history[0].loss" in said
    assert len(list((ours / "runs").glob("*/record.json"))) == 1


def test_an_audit_reads_all_and_makes_one_run_again_by_the_method_that_is_named(theirs, ours, capsys, monkeypatch):
    _, methods, archive = theirs
    code = ["--root", str(ours)]
    app.main(["audit", str(archive), *code, "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {f["what"] for f in findings} <= {"code"}  # of a checkout with changes, if this is one
    assert app.main(["audit", str(archive), *code, "--rerun", "any"]) == 2
    assert "'leaky' is not among the methods here" in capsys.readouterr().err
    other = ours / "other"
    other.mkdir()
    (other / "leaky.py").write_text(LEAKY)
    assert app.main(["audit", str(archive), *code, "--rerun", "any", "--methods", str(other)]) == 2
    assert "is not the one submitted" in capsys.readouterr().err
    named = [*code, "--methods", str(methods), "--json"]
    assert app.main(["audit", str(archive), *named, "--rerun", "zz"]) == 2
    capsys.readouterr()
    app.main(["audit", str(archive), *named, "--rerun", "any"])
    out = capsys.readouterr()
    assert "made again: equal" in out.err and {f["what"] for f in json.loads(out.out)["findings"]} <= {"code"}
    assert app.main(["audit", "--rerun", "any", *code]) == 2


def test_a_result_that_the_method_does_not_give_is_found_by_making_it_again(theirs, ours, capsys):
    folder, methods, _ = theirs
    records = [r for r in load_records(folder / "runs") if r.method == "leaky"]
    improved = []
    for record in records:
        result = record.result | {"test_score": 1.0, "correct": len(record.targets)}
        improved.append(record.changed(predictions=record.targets, result=result))
    pack(ours / "better.zip", "leaky", (LEAKY + MARK).encode(), improved, "Me")
    words = ["audit", str(ours / "better.zip"), "--root", str(ours), "--methods", str(methods), "--json"]
    assert app.main([*words, "--rerun", "any"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert any(f["what"] == "run" and "on the same processor, first in" in f["text"] for f in findings)


def test_who_made_it_is_gits_user_where_nobody_is_named(theirs, tmp_path, capsys, monkeypatch):
    folder, methods, _ = theirs
    (tmp_path / "gitconfig").write_text("[user]\nname = B. Committer\n")
    words = ["submit", "leaky", "--root", str(folder), "--methods", str(methods), "--out", str(tmp_path / "it.zip")]
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert app.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["by"] == "B. Committer"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    assert app.main(words) == 2 and "say who made it, --by NAME" in capsys.readouterr().err


def test_an_audit_without_a_name_walks_what_was_collected_too(theirs, ours, capsys):
    _, _, archive = theirs
    root = ["--root", str(ours), "--json"]

    def found():
        app.main(["audit", *root])
        return {(f["what"], f["text"]) for f in json.loads(capsys.readouterr().out)["findings"] if f["what"] != "code"}

    assert app.main(["collect", str(archive), "--root", str(ours)]) == 0
    capsys.readouterr()
    assert found() == set()
    laid = next((ours / "submissions").iterdir())
    source = (laid / "method.py").read_bytes()
    (laid / "method.py").write_bytes(source + b"\n")
    ((what, text),) = found()
    assert what == "archive" and "method.py is not the one that was submitted" in text
    (laid / "method.py").write_bytes(source)
    path = next((ours / "runs").glob("*/record.json"))
    record = finished_record(ours / "runs", path.parent.name)
    write_record(path, record.changed(measured=record.measured | {"wall_seconds": 1.0}))
    ((what, text),) = found()
    assert what == "record" and "is not the one that was submitted" in text
    path.unlink()
    ((what, text),) = found()
    assert "is no longer there" in text
    manifest = laid / "manifest.json"
    manifest.write_text(manifest.read_text().replace("records/", "../../records/"))
    ((what, text),) = found()
    assert what == "archive" and "lists '../../records/" in text


def altered(archive, **members):
    """The archive with other members, and the digests of those in its manifest."""
    with zipfile.ZipFile(archive) as opened:
        content = {name: opened.read(name) for name in opened.namelist()}
    manifest = json.loads(content.pop("manifest.json"))
    for name, data in members.items():
        content.pop(name, None)
        manifest["files"].pop(name, None)
        if data is not None:
            content[name] = data
            manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return zipped({"manifest.json": json.dumps(manifest).encode(), **content})


def zipped(content, **changes):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items() if isinstance(content, dict) else content:
            info = zipfile.ZipInfo(name)
            info.external_attr = changes.get(name, (stat.S_IFREG | 0o644) << 16)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return out.getvalue()


def parts(archive):
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def hostile(archive):
    content = parts(archive)
    record = next(name for name in content if name.startswith("records/"))
    text = content[record].decode()
    score = re.search(r'"test_score":[0-9.]+', text)[0]
    yield "a path that climbs", altered(archive, **{"../../victim": b"x"}), "holds '../../victim'"
    yield "an absolute path", altered(archive, **{"/tmp/victim": b"x"}), "holds '/tmp/victim'"
    yield "a drive", altered(archive, **{"C:\\victim": b"x"}), "which no submission does"
    yield "another spelling", altered(archive, **{record.replace("records/", "records//"): b"x"}), "which no submission"
    yield "a second file of code", altered(archive, **{"setup.py": b"x"}), "holds 'setup.py'"
    yield "a pickle", altered(archive, **{"model.pkl": b"x"}), "holds 'model.pkl'"
    yield "a link", zipped(content, **{"method.py": (stat.S_IFLNK | 0o777) << 16}), "is a link"
    yield "a device", zipped(content, **{"method.py": (stat.S_IFCHR | 0o666) << 16}), "is a link, a device"
    yield "a name twice", zipped([*content.items(), ("method.py", b"other")]), "holds method.py twice"
    yield "a bomb", zipped({**content, "method.py": bytes(600_000_000)}), "would unfold to"
    yield "a large method", altered(archive, **{"method.py": bytes(2_000_000)}), "method.py has 2,000,000 bytes"
    yield "a method changed", zipped({**content, "method.py": b"import os"}), "method.py has another digest"
    yield "a record changed", zipped({**content, record: b"{}"}), "has another digest"
    yield "a record dropped", zipped({k: v for k, v in content.items() if k != record}), "missing, but in its manifest"
    yield "no method", zipped({k: v for k, v in content.items() if k != "method.py"}), "lacks method.py"
    yield "no manifest", zipped({k: v for k, v in content.items() if k != "manifest.json"}), "lacks manifest.json"
    yield "a score altered", altered(archive, **{record: text.replace(score, '"test_score":0.99').encode()}), "0.99"
    name = "records/" + "0" * 64 + ".json"
    yield "a record under another key", altered(archive, **{name: content[record], record: None}), "does not belong"
    yield "a record that is none", altered(archive, **{record: b"[1, 2"}), "is no zip|records/"
    yield "deep nesting", altered(archive, **{record: b"[" * 200_000}), "records/"
    manifest = json.loads(content["manifest.json"])
    for field, value, said in (
        ("by", "Somebody else", "is by 'A. Na"),
        ("method", "lif", "the archive is of 'lif'"),
        ("by", "<script>", "manifest is not right"),
        ("schema", 2, "manifest is not right"),
        ("more", 1, "manifest is not right"),
    ):
        other = json.dumps(manifest | {field: value}).encode()
        yield f"manifest: {field} {value!r}", zipped({**content, "manifest.json": other}), said
    yield "not a manifest", zipped({**content, "manifest.json": b"\xff\xfe"}), "manifest is not right"
    data = archive.read_bytes()
    yield "cut short", data[: len(data) // 2], "no zip that can be read"
    yield "garbage", b"PK\x03\x04" + bytes(range(256)), "no zip that can be read"
    yield "empty", b"", "no zip that can be read"
    place = data.index(b"PK\x01\x02")
    lied = bytearray(data)
    lied[place + 24 : place + 28] = struct.pack("<I", 10)  # the size that the first member says, too small
    yield "a size that lies", bytes(lied), "no zip|other than|missing|its manifest"
    locked = bytearray(data)
    locked[place + 8] |= 1
    yield "encrypted", bytes(locked), "encrypted"


def test_hostile_archives_are_refused_and_nothing_is_written(theirs, ours, tmp_path, capsys):
    _, _, archive = theirs
    before = sorted(tmp_path.rglob("*"))
    path = tmp_path / "hostile.zip"
    for name, data, said in hostile(archive):
        path.write_bytes(data)
        for command, code in (("collect", 2), ("audit", 1)):
            assert app.main([command, str(path), "--root", str(ours)]) == code, name
            out = capsys.readouterr()
            assert re.search(said, out.err + out.out), (name, out.err + out.out)
        path.unlink()
        assert sorted(tmp_path.rglob("*")) == before, name
    assert app.main(["audit", str(tmp_path / "absent.zip"), "--root", str(ours)]) == 2


def test_an_archive_of_too_many_members_or_bytes_is_refused(theirs, tmp_path, monkeypatch):
    _, _, archive = theirs
    monkeypatch.setattr(submission, "MOST", 3)
    with pytest.raises(BenchError, match="has 4 members, of at most 3"):
        read_submission(archive.read_bytes(), "it")
    monkeypatch.setattr(submission, "LARGEST", 100)
    with pytest.raises(BenchError, match="has more than 100 bytes"):
        submission.read_archive(archive)


def test_an_archive_cut_anywhere_or_garbled_is_an_error_of_ours(theirs):
    data = theirs[2].read_bytes()
    for place in range(0, len(data), 61):
        garbled = bytearray(data)
        garbled[place] ^= 0x55
        for content in (data[:place], bytes(garbled)):
            try:
                read_submission(content, "it")
            except BenchError as error:
                assert len(str(error).splitlines()) == 1


def test_records_of_another_method_or_kind_are_not_taken(theirs, tmp_path):
    folder, _, _ = theirs
    lif = next(r for r in load_records(folder / "runs") if r.method == "lif")
    with pytest.raises(BenchError, match="the archive is of 'leaky'"):
        pack(tmp_path / "no.zip", "leaky", b"", [lif], "Me")
    assert not (tmp_path / "no.zip").exists()
    assert record_text(lif)  # the record itself is fine

"""Somebody's method as one archive: its file, the records of its runs, its environment, and the digest of each.

    manifest.json         method, by, environment, {member: {sha256, size}}
    method.py             the file that declares the method
    records/<key>.json    one a finished run, as under runs/

A zip without code that runs by being opened: it is never unpacked by names from outside, and no member is executed.
"""

import hashlib
import importlib.metadata
import io
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from delrec_bench.environment import machine, provenance
from delrec_bench.errors import BenchError
from delrec_bench.interchange.files import read_bytes, refuse_members
from delrec_bench.records import Record, canonical_json, check_targets, from_dict, record_text
from delrec_bench.records.record import faults
from delrec_bench.workspace import write_atomic

MANIFEST, METHOD = "manifest.json", "method.py"
LARGEST = 64 << 20  # bytes of an archive
UNFOLDED = 512 << 20  # bytes of its members in all
MOST = 10_000  # members
_SOURCE = 1 << 20  # bytes of a method's file
_MANIFEST = 8 << 20
_MEMBER = re.compile(r"manifest\.json|method\.py|records/[0-9a-f]{64}\.json")


def _line(text: str) -> str:
    if not (text.isprintable() and text == text.strip()):
        raise ValueError("one line of printable text, without spaces at its ends")
    return text


def _person(text: str) -> str:
    if not all(c.isalnum() or c in " .,;'&@+-()" for c in text):
        raise ValueError("letters, digits, spaces and .,;'&@+-() alone: it stands on pages of HTML and Markdown")
    return _line(text)


Line = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_line)]
Person = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_person)]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Member(_Closed):
    """A member's digest and size."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0, le=UNFOLDED)


class Environment(_Closed):
    """What the runs were made in, as the submitter's machine says."""

    machine: str = Field(max_length=300)
    versions: dict[str, str]
    distributions: dict[str, str]


class Manifest(_Closed):
    """What an archive says of itself."""

    schema_: Literal[1] = Field(alias="schema")
    method: Line
    by: Person
    environment: Environment
    files: dict[str, Member]


@dataclass(frozen=True)
class Submission:
    """A submission that was read and found whole.

    Attributes:
        manifest: What it says of itself.
        source: The method's file; nobody has executed it.
        records: Of finished runs, checked like any other, each naming its submitter.
        digest: SHA-256 of the manifest, which holds those of all members.
    """

    manifest: Manifest
    source: bytes
    records: tuple[Record, ...]
    digest: str

    @property
    def folder(self) -> str:
        """A name for its folder that nobody from outside has chosen alone."""
        return f"{re.sub(r'[^A-Za-z0-9]+', '-', self.manifest.method).strip('-')[:40] or 'method'}-{self.digest[:12]}"


def submitted(records: Sequence[Record], by: str) -> list[Record]:
    """The records with the name of who made them."""
    return [record.changed(provenance={**record.provenance, "submitter": by}) for record in records]


def pack(path: Path, method: str, source: bytes, records: Sequence[Record], by: str) -> Submission:
    """Write the archive of a method; equal content gives equal bytes.

    Args:
        path: The zip.
        method: Its name.
        source: The file that declares it.
        records: Its finished runs.
        by: Who made it.

    Raises:
        BenchError: A name that is no line of text, no record, or more than an archive may hold.
    """
    if not records:
        raise BenchError(f"there is no finished run of '{method}'; make some first: delrec-bench run {method} digits")
    named = submitted(records, by)
    members = {METHOD: source} | {f"records/{r.key}.json": record_text(r).encode() for r in named}
    about = {name: {"sha256": _sha256(data), "size": len(data)} for name, data in members.items()}
    content = {"schema": 1, "method": method, "by": by, "environment": _environment(), "files": about}
    members = {MANIFEST: (canonical_json(content) + "\n").encode()} | members
    _parsed(members[MANIFEST], "this submission")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in [MANIFEST, *sorted(set(members) - {MANIFEST})]:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr, entry.compress_type = (stat.S_IFREG | 0o644) << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, members[name])
    if len(out.getvalue()) > LARGEST:
        raise BenchError(f"{len(records)} runs of '{method}' pack to more than {LARGEST:,} bytes; submit fewer")
    made = read_submission(out.getvalue(), "this submission")
    write_atomic(path, out.getvalue())
    return made


def _environment() -> dict[str, Any]:
    found = {d.name: d.version for d in importlib.metadata.distributions() if d.name}
    return {"machine": machine(), "versions": provenance()["versions"], "distributions": dict(sorted(found.items()))}


def read_archive(path: Path) -> bytes:
    """An archive's bytes.

    Raises:
        BenchError: It is not there, no file, or larger than a submission may be.
    """
    return read_bytes(path, LARGEST)


def read_submission(data: bytes, where: str) -> Submission:
    """The submission in an archive's bytes, of which nothing is executed or written anywhere.

    Raises:
        BenchError: It is no zip, has a member that does not belong (another path, a link, a second of one name), is
            larger than it says or may be, a digest does not match, or a record is not valid, of another method or
            another submitter.
    """
    refuse_members(data, MOST, where)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = _entries(archive, where)
            raw = _content(archive, entries[MANIFEST], _MANIFEST, where)
            manifest = _parsed(raw, where)
            _listed(manifest, entries, where)
            source = _verified(archive, entries, METHOD, manifest, where)
            records = tuple(_records(archive, entries, manifest, where))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BenchError(f"{where} is no zip that can be read, or was cut short ({error}); ask for it again") from error
    check_targets(records)
    return Submission(manifest, source, records, _sha256(raw))


def _entries(archive: zipfile.ZipFile, where: str) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    members = archive.infolist()
    for member in members:
        name = member.orig_filename  # as it stands in the file; `filename` ends at a NUL
        kind = stat.S_IFMT(member.external_attr >> 16)
        if not _MEMBER.fullmatch(name):
            raise BenchError(f"{where} holds {name[:80]!r}, which no submission does; it is refused")
        if name in entries:
            raise BenchError(f"{where} holds {name} twice; it is refused")
        plain = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if kind not in (0, stat.S_IFREG) or member.flag_bits & 0x1 or not plain:
            raise BenchError(f"{where}: {name} is a link, a device, encrypted or oddly compressed; it is refused")
        entries[name] = member
    lacking = {MANIFEST, METHOD} - set(entries)
    if lacking:
        raise BenchError(f"{where} lacks {', '.join(sorted(lacking))}; it is no submission")
    size = sum(member.file_size for member in members)
    if size > UNFOLDED:
        raise BenchError(f"{where} would unfold to {size:,} bytes, of at most {UNFOLDED:,}; it is refused")
    return entries


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int, where: str) -> bytes:
    """A member's bytes, never more than it says, nor than `most`."""
    if member.file_size > most:
        raise BenchError(f"{where}: {member.filename} has {member.file_size:,} bytes, of at most {most:,}")
    with archive.open(member) as file:
        content = file.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise BenchError(f"{where}: {member.filename} has other than the {member.file_size:,} bytes that it says")
    return content


def _parsed(raw: bytes, where: str) -> Manifest:
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise BenchError(f"{where}: its manifest is not right ({faults(error)})") from error


def read_manifest(path: Path) -> Manifest:
    """The manifest that `collect` laid aside.

    Raises:
        BenchError: It cannot be read, or is none.
    """
    manifest = _parsed(read_archive(path), str(path))
    odd = sorted(name for name in manifest.files if not _MEMBER.fullmatch(name))
    if odd or METHOD not in manifest.files:
        raise BenchError(f"{path} lists {odd[0][:80]!r}" if odd else f"{path} lists no {METHOD}; collect it again")
    return manifest


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        BenchError: It cannot be read.
    """
    return _sha256(read_archive(path))


def _listed(manifest: Manifest, entries: dict[str, zipfile.ZipInfo], where: str) -> None:
    there, said = set(entries) - {MANIFEST}, set(manifest.files)
    if there != said:
        odd = sorted(there ^ said)[0]
        raise BenchError(
            f"{where}: {odd[:80]!r} is {'not listed in' if odd in there else 'missing, but in'} its manifest"
        )


def _verified(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], name: str, manifest: Manifest, where: str
) -> bytes:
    content = _content(archive, entries[name], _SOURCE if name == METHOD else UNFOLDED, where)
    if _sha256(content) != manifest.files[name].sha256:
        raise BenchError(f"{where}: {name} has another digest than its manifest says; it was altered")
    return content


def _records(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], manifest: Manifest, where: str
) -> Iterator[Record]:
    for name in sorted(set(entries) - {MANIFEST, METHOD}):
        try:
            values = json.loads(_verified(archive, entries, name, manifest, where))
            record = from_dict(values if isinstance(values, dict) else {})
        except (BenchError, ValueError, RecursionError) as error:
            raise BenchError(f"{where}: {name}: {error}") from error
        if name != f"records/{record.key}.json" or record.kind not in ("run", "floor"):
            raise BenchError(f"{where}: {name} holds {record}, which does not belong there")
        if (record.method, record.provenance.get("submitter")) != (manifest.method, manifest.by):
            by = record.provenance.get("submitter")
            raise BenchError(
                f"{where}: {record} is by {by!r}; the archive is of '{manifest.method}' by '{manifest.by}'"
            )
        yield record


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

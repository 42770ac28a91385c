"""Downloads that arrive whole and right, or not at all."""

import hashlib
import http.client
import shutil
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import wrap_file

from delrec_bench.data.dvc_files import SCHEMES
from delrec_bench.data.files import MOST_GROWTH, saving
from delrec_bench.errors import BenchError

BLOCK = 1 << 18
PATIENCE = 30.0  # seconds without a byte


@contextmanager
def draft_of(path: Path) -> Iterator[Any]:
    """A temporary file beside `path` that takes its place when the block ends well, and vanishes otherwise."""
    with saving(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115
    place = Path(draft.name)
    try:
        with draft:
            yield draft
        with saving(path):
            place.chmod(0o644)
            place.replace(path)
    finally:
        place.unlink(missing_ok=True)


def download(url: str, path: Path, md5: str, most: int | None) -> None:
    """Fetch `url` to `path`, with progress on stderr.

    Args:
        url: http or https.
        path: Where the file goes.
        md5: Its digest.
        most: Bytes that it can have; nothing beyond is read.

    Raises:
        BenchError: Another kind of address, a server that refuses or fails, a file longer than `most`, another md5 (of
            one cut off, say), no declared size, or no space.
    """
    if not url.lower().startswith(SCHEMES):
        raise BenchError(f"{url}: not an http or https address")
    if most is None:
        raise BenchError(f"{path.name}: its .dvc file has neither size nor meta.at_most; add one of them")
    total, received = hashlib.md5(usedforsecurity=False), 0
    with draft_of(path) as draft:
        try:
            # urllib follows no redirection to a file of this machine
            with (
                urllib.request.urlopen(url, timeout=PATIENCE) as answer,
                wrap_file(answer, most, description=path.name, console=Console(stderr=True)) as stream,
            ):
                while received <= most and (block := stream.read(BLOCK)):
                    with saving(path):
                        draft.write(block)
                    total.update(block)
                    received += len(block)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BenchError(f"{url}: download failed ({error}); try again, or save the file as {path}") from error
        if received > most:
            raise BenchError(
                f"{url}: longer than {most} bytes, the most it may have; nothing was kept, try another source"
            )
        if total.hexdigest() != md5:
            raise BenchError(
                f"{url}: {received} bytes with md5 {total.hexdigest()}, but its .dvc file says {md5}; nothing was "
                "kept, try again or another source"
            )


def unzip(archive: Path, path: Path) -> Path:
    """Unpack the member named as `path` from a checked zip.

    Raises:
        BenchError: No zip, no such member, one that grows beyond `MOST_GROWTH` times the zip's size, or no space.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            inside = next((member for member in packed.infolist() if Path(member.filename).name == path.name), None)
            if inside is None or inside.file_size > MOST_GROWTH * archive.stat().st_size:
                raise BenchError(f"{archive}: does not contain {path.name}, or one that is too large; fetch it again")
            with draft_of(path) as draft, packed.open(inside) as source, saving(path):
                shutil.copyfileobj(source, draft, BLOCK)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BenchError(f"{archive}: incomplete zip file ({error}); delete it and fetch it again") from error
    return path

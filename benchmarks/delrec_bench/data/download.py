"""Downloads that arrive whole and right, or not at all."""

import hashlib
import http.client
import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from delrec_bench.data.dvc_files import SCHEMES
from delrec_bench.data.files import need_space, saving
from delrec_bench.errors import BenchError

BLOCK = 1 << 18
PATIENCE = 30.0  # seconds without a byte
# Only these two: an address of a .dvc file, or a redirection, names no file of this machine.
HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.UnknownHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
)


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, and vanishes otherwise."""
    with saving(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    draft = Path(name)
    try:
        yield draft
        with saving(path):
            draft.chmod(0o644)
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def download(url: str, path: Path, md5: str, most: int | None) -> None:
    """Fetch `url` to `path`, with progress on stderr.

    Args:
        url: http or https.
        path: Where the file shall lie.
        md5: What it must be.
        most: Bytes that it can have; what comes beyond is not read.

    Raises:
        BenchError: Another kind of address, a server that refuses or fails, a file cut off or longer than `most`,
            another md5, no declared size, or no space.
    """
    if not url.lower().startswith(SCHEMES):
        raise BenchError(f"{url}: not an http or https address; give one")
    if most is None:
        raise BenchError(f"{path.name}: its .dvc file gives neither size nor meta.at_most; add one before fetching it")
    opener = urllib.request.OpenerDirector()
    for handler in HANDLERS:
        opener.add_handler(handler())
    total = hashlib.md5(usedforsecurity=False)
    with draft_of(path) as draft:
        try:
            with opener.open(url, timeout=PATIENCE) as answer:
                stated = answer.headers.get("Content-Length") or ""
                size = int(stated) if stated.isdecimal() else 0
                if size > most:
                    raise BenchError(f"{url}: the server announces {size} bytes where {most} are the most; not fetched")
                need_space(path.parent, size)
                received = _copy(answer, draft, total, size, most, path)
        except urllib.error.HTTPError as error:
            raise BenchError(
                f"{url}: the server answers {error.code} {error.reason}; get {path.name} elsewhere and put it at {path}"
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise BenchError(
                f"{url}: cannot be fetched ({reason}); try again, or put the file at {path} yourself"
            ) from error
        if received > most:
            raise BenchError(f"{url}: longer than the {most} bytes it can have; nothing was kept, try another source")
        if size and received != size:
            raise BenchError(f"{url}: cut off after {received} of {size} bytes; nothing was kept, try again")
        if total.hexdigest() != md5:
            raise BenchError(
                f"{url}: md5 {total.hexdigest()} where data.dvc says {md5}; nothing was kept, try another source"
            )


def _copy(
    answer: http.client.HTTPResponse, draft: Path, total: "hashlib._Hash", size: int, most: int, path: Path
) -> int:
    received = 0
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar, draft.open("wb") as stream:
        shown = bar.add_task(path.name, total=size or None)
        while received <= most and (block := answer.read(min(BLOCK, most + 1 - received))):
            with saving(path):
                stream.write(block)
            total.update(block)
            received += len(block)
            bar.advance(shown, len(block))
        with saving(path):
            stream.flush()
            os.fsync(stream.fileno())
    return received


def unzip(archive: Path, path: Path) -> Path:
    """Unpack the member named as `path` from a checked zip.

    Raises:
        BenchError: No zip, no such member, or no space.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            inside = [name for name in packed.namelist() if Path(name).name == path.name]
            if not inside:
                raise BenchError(f"{archive}: holds no {path.name}; delete it and fetch it again")
            need_space(archive.parent, packed.getinfo(inside[0]).file_size)
            with draft_of(path) as draft, packed.open(inside[0]) as source, saving(path), draft.open("wb") as stream:
                shutil.copyfileobj(source, stream, BLOCK)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BenchError(f"{archive}: not a whole zip ({error}); delete it and fetch it again") from error
    return path

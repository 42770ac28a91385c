"""Files from outside, taken whole into memory: no larger than is allowed, and of a zip no more members."""

from pathlib import Path

from delrec_bench.errors import BenchError

_CENTRAL = b"PK\x01\x02"  # begins each entry of a zip's directory


def read_bytes(path: Path, largest: int) -> bytes:
    """A regular file's bytes.

    Raises:
        BenchError: It cannot be read, is no file, or is larger than `largest`.
    """
    try:
        if path.exists() and not path.is_file():
            raise BenchError(f"{path} is not a file; name one")
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BenchError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > largest:
        raise BenchError(f"{path} has more than {largest:,} bytes, the most that is taken; it is refused")
    return data


def refuse_members(data: bytes, most: int, where: str) -> None:
    """Refuse a zip of more than `most` members before its directory is read.

    Raises:
        BenchError: It has more.
    """
    count = data.count(_CENTRAL)
    if count > most:
        raise BenchError(f"{where} has {count:,} members, of at most {most:,}; it is refused")

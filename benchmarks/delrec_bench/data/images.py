"""Files of images: MNIST's four, and the digits that come with scikit-learn."""

import math
import struct
from importlib import resources
from pathlib import Path

import numpy as np

from delrec_bench.data.files import reading
from delrec_bench.environment import need_memory
from delrec_bench.errors import BenchError

# md5 of the four official files as they are inside their .gz.
OFFICIAL = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
DIGITS = "digits.csv.gz"


def raw_digits() -> bytes:
    """scikit-learn's own file, as it ships."""
    return (resources.files("sklearn.datasets") / "data" / DIGITS).read_bytes()


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """An idx file of unsigned bytes (.gz or not), as MNIST's files are; a `BenchError` says what is wrong with it."""
    with reading(path) as stream:
        head = stream.read(4 + 4 * dimensions)
        if len(head) < 4 + 4 * dimensions or head[:4] != (0x800 + dimensions).to_bytes(4, "big"):
            raise BenchError(f"{path}: starts with {head[:4].hex(' ')}; it is not an MNIST file of this kind")
        shape = struct.unpack(f">{dimensions}I", head[4:])
        said, wanted = f"{'x'.join(map(str, shape))} bytes, as its header says,", math.prod(shape)
        need_memory(2 * wanted, f"{path}: {said}")
        content = stream.read(wanted + 1)
    if not content or len(content) != wanted:
        raise BenchError(f"{path}: {said} are missing; the file is incomplete or modified: copy or fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)

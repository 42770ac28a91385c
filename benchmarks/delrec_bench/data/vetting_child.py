"""What the child of `vetting` runs; it imports little, to start fast and within its memory."""

import json
import os
import resource
import sys
import traceback
from pathlib import Path

from delrec_bench.data.events import open_hdf5
from delrec_bench.errors import BenchError

MEMORY = 2 << 30  # bytes of address space
BUG = 70


def main() -> None:
    """Read every event of the file; the outcome as JSON on stdout: null, or the message of our own error."""
    plain, shown, seconds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # ends it by SIGXCPU
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    said = None
    try:
        with open_hdf5(plain, shown) as file:
            file.warns = False
            for _ in file.blocks():
                pass
    except BenchError as error:
        said = str(error)
    except MemoryError:
        said = f"{shown}: reading it takes over {MEMORY >> 30} GiB; no file of this layout does: copy or fetch it again"
    except Exception:
        traceback.print_exc()
        sys.exit(BUG)
    sys.stdout.write(json.dumps(said))
    sys.stdout.flush()
    os._exit(0)  # a broken file may crash the library once more while it closes

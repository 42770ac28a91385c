"""A process that does runs one after the other. Its arithmetic is in the environment it starts with.

The parent sends (request, place); the child answers ("epoch", entry) for each epoch and ("done", Done) or ("raised",
error) at the end, over a pipe of their own. A child ends with its parent, however that ends.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from multiprocessing.connection import Connection

from delrec_bench.arithmetic import Arithmetic, environment
from delrec_bench.config import Request
from delrec_bench.runs.executors.base import Place, work

PR_SET_PDEATHSIG = 1
SERVE = f"import sys; from {__name__} import serve; serve(*map(int, sys.argv[1:]))"


class Child:
    """One such process, seen from its parent.

    Attributes:
        arithmetic: What it was started for.
        connection: Where its answers come; at the end of the file it has died.
    """

    def __init__(self, arithmetic: Arithmetic, variables: Mapping[str, str] | None = None) -> None:
        self.arithmetic = arithmetic
        self.connection, theirs = multiprocessing.Pipe()
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        words = [sys.executable, "-P", "-c", SERVE, str(theirs.fileno()), str(os.getpid())]
        self._process = subprocess.Popen(
            words, env={**environment(arithmetic), **paths, **(variables or {})}, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self._end = weakref.finalize(self, _end, self._process, self.connection)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def send(self, request: Request, place: Place) -> None:
        """Let it begin a run."""
        self.connection.send((request, place))

    def end(self) -> None:
        """End it at once, whatever it does."""
        self._end()


def _end(process: "subprocess.Popen[bytes]", connection: Connection) -> None:
    connection.close()
    process.terminate()
    process.wait()


def serve(descriptor: int, parent: int) -> None:
    """Do what comes through the pipe, in a child of `parent`, until it is closed."""
    connection = Connection(descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's affair; it ends its children
    _end_with(parent)
    os.dup2(2, 1)  # stdout belongs to the parent, which may write one JSON object there
    while True:
        try:
            request, place = connection.recv()
        except EOFError:
            return
        try:
            done = work(request, place, lambda entry: connection.send(("epoch", entry)))
        except OSError as error:
            connection.send(("raised", error))
        else:
            connection.send(("done", done))


def _end_with(parent: int, every: float = 1.0) -> None:
    """Let this process end when `parent` does: at once on Linux, elsewhere within a second."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()

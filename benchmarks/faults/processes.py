"""Processes to be killed: forked from this one, which has imported everything, so that each begins at once."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path


class Process:
    """A child that does `work`; what it says goes to a file."""

    def __init__(self, said: Path, work: Callable[[], object]) -> None:
        self._said, self._code = said, None
        said.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            self._child(work)

    def _child(self, work: Callable[[], object]) -> None:
        code = 1
        try:
            handle = os.open(self._said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            code = int(work() or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def poll(self) -> int | None:
        """How it ended, negative by a signal; None while it lives."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def kill(self) -> None:
        """End it as the kernel ends a process that is out of memory."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def finish(self, seconds: float = 900.0) -> str:
        """What it said, once it has ended; one that fails of itself is a fault."""
        end = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > end:
                self.kill()
                raise SystemExit(f"a call hung:\n{self._said.read_text()}")
            time.sleep(0.002)
        said = self._said.read_text(errors="replace")
        if self._code not in (0, -signal.SIGKILL):
            raise SystemExit(f"a call ended with {self._code}:\n{said}")
        return said

    @property
    def survived(self) -> bool:
        """Whether it ended by itself, whatever was meant for it."""
        return self._code == 0

"""How many of our functions a call goes through: what a small network pays for, counted instead of timed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import delrec

__all__ = ["Calls", "counted"]

_HOME = str(Path(delrec.__file__).parent)
_GENERATED = "<delrec_"  # the modules that engines generate for a neuron


class Calls(NamedTuple):
    """Calls into delrec, and how many of its frames are on the stack in a kernel, the kernel's included."""

    calls: int
    frames: int


def counted(work: Callable[[], Any]) -> Calls:
    """Run `work`, whose kernels are compiled, and count."""
    calls = frames = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls, frames
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith((_HOME, _GENERATED)):
            return
        calls += 1
        if name.startswith(_GENERATED):
            stack, here = 1, sys._getframe(1)  # numba's own frame knows no caller
            while here.f_back is not None:
                stack += here.f_code.co_filename.startswith(_HOME)
                here = here.f_back
            frames = max(frames, stack)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return Calls(calls, frames)

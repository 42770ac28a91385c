"""Progress, for people, on stderr: a bar for a study and one for each run on a terminal, and lines everywhere."""

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

T = TypeVar("T")


def left(seconds: float) -> str:
    """Time left, as a person would say it."""
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    return f"about {seconds / 60:.0f} minutes left" if seconds < 90 * 60 else f"about {seconds / 3600:.1f} hours left"


class Display:
    """Bars and lines of one command; use it as a context.

    Bars have names: the first call with a name makes one, and one that is full goes. They show on a terminal only.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}")
        self.bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.tasks: dict[str, TaskID] = {}
        self.start = time.perf_counter()

    def __enter__(self) -> "Display":
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        """A line, above the bars."""
        self.bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def bar(self, name: str, done: int, total: int, seconds: float) -> None:
        """Set a bar: `done` of `total`, and the seconds left."""
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=total, left="")
        self.bars.update(self.tasks[name], completed=done, total=total, left=left(seconds))
        if done >= total:
            self.bars.remove_task(self.tasks.pop(name))

    def each(self, name: str, items: Sequence[T]) -> Iterator[T]:
        """Go through items with a bar."""
        start = time.perf_counter()
        for count, item in enumerate(items, 1):
            yield item
            self.bar(name, count, len(items), (time.perf_counter() - start) / count * (len(items) - count))

    def epoch(self, entry: dict[str, Any]) -> None:
        """One epoch of this command's own run."""
        epoch, epochs = entry["epoch"], entry["epochs"]
        seconds = (time.perf_counter() - self.start) / epoch * (epochs - epoch)
        shown = [name for name in entry if name == "loss" or name.startswith(("train_", "valid_"))]
        scores = "  ".join(f"{name} {entry[name]:.4g}" for name in shown if name != "valid_loss")
        self.bar("epochs", epoch, epochs, seconds)
        self.say(f"epoch {epoch}/{epochs}  {scores}  {left(seconds)}")

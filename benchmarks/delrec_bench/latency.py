"""Latency of every method on every task's shape, as ratios to the no-delay network measured in the same block.

    measure(methods, tasks, workspace, budget_seconds=90, quick=True) -> list[Record]

`reproduce` calls `measure` once after its runs; the suites under benchmarks/latency call `subject` and `Block` of this
module themselves, so that one code measures for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .records import Record
from .workspace import Workspace

__all__ = ["measure"]


def measure(
    methods: Sequence[Any],
    tasks: Sequence[Any],
    workspace: Workspace,
    budget_seconds: float = 90.0,
    quick: bool = True,
    progress: Callable[[str], None] | None = None,
) -> list[Record]:
    """Measure training step, batch inference and batch-1 streaming; one record of kind "latency" a method and task.

    A record that workspace.runs already holds under the same key is returned as it is: the second call measures
    nothing.

    Args:
        methods: `Method` objects, in the order of the table.
        tasks: `Task` objects, or their names.
        workspace: Where records are kept.
        budget_seconds: Wall time for everything; what does not fit gets fewer rounds, then None.
        quick: The quick profile's sizes; else the paper's.
        progress: Called with a line a task.
    """
    raise NotImplementedError

"""What every engine takes over from the steps before, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["ScanOutput", "ScanState"]


@dataclass(frozen=True)
class ScanState:
    """State of a layer between two steps; B the batch, N the neurons.

    states: the neuron's states before the reset, each (B, N).
    history: past spikes (K, B, N), the newest LAST; K may be any length >= 1, what lies further back is silence.
    The spike S[t-1] that the reset needs is history[-1].
    """

    states: tuple[Tensor, ...]
    history: Tensor

    def detach(self) -> ScanState:
        """Return the same state without its gradient history."""
        return ScanState(tuple(s.detach() for s in self.states), self.history.detach())


@dataclass(frozen=True)
class ScanOutput:
    """Result of a scan over T steps.

    spikes: (T, B, N), 0 or 1. states: the neuron's states before the reset, each (T, B, N), or () when they were
    not asked for. final: the state after the last step. engine: the engine that ran.
    """

    spikes: Tensor
    states: tuple[Tensor, ...]
    final: ScanState
    engine: str

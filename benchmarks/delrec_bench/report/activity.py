"""What a record counted beside its score: spikes, synaptic operations, the delay buffer."""

from collections.abc import Iterable

from delrec_bench.records import Record


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is known; None of nothing."""
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def _spikes(record: Record) -> float | None:
    value = record.activity.get("spikes_per_neuron_step")
    parts = list(value.values()) if isinstance(value, dict) else [value]
    return mean(p for p in parts if isinstance(p, int | float) and not isinstance(p, bool))


def _operations(record: Record) -> float | None:
    """Effective accumulates and multiply-accumulates of a sample."""
    ops = record.activity.get("synaptic_operations")
    if not isinstance(ops, dict):
        return None
    return float(ops.get("effective_acs") or 0) + float(ops.get("effective_macs") or 0) or None


def _buffer(record: Record) -> float | None:
    return record.activity.get("delay_buffer")


ACTIVITY = {"spikes_per_neuron_step": _spikes, "synaptic_operations": _operations, "delay_buffer": _buffer}
"""Column -> what a record says of it, or None."""

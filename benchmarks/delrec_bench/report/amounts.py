"""How much of the data and of the published training a row used."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from delrec_bench.records import Record
from delrec_bench.statistics.sentences import plural


@dataclass(frozen=True)
class Amount:
    """How much of the data and of the published training a row used.

    Attributes:
        data: EMBEDDED, STAND-IN or OFFICIAL.
        training: (used, whole) training samples, after validation was set aside; a whole of None is more than that.
        test: (used, whole) test samples.
        validation: validation samples.
        epochs: epochs trained.
        published_epochs: of the published setting, None where there is none.
    """

    data: str
    training: tuple[int, int | None]
    test: tuple[int, int | None]
    epochs: int
    validation: int = 0
    published_epochs: int | None = None


def stamp(amount: Amount) -> str:
    """The data's stamp: OFFICIAL becomes OFFICIAL SUBSET where less than the whole was used, in training or test."""
    part = any(whole is None or used < whole for used, whole in (amount.training, amount.test))
    return "OFFICIAL SUBSET" if amount.data == "OFFICIAL" and part else amount.data


def amount_used(amount: Amount) -> str:
    """The stamp with samples and epochs: "OFFICIAL SUBSET: 5,000 of 54,000 training samples, 3 of 200 epochs"."""
    parts = [_part(*amount.training, "training samples")]
    if amount.validation:
        parts.append(f"{amount.validation:,} for validation")
    parts.append(_part(*amount.test, "test samples"))
    published = amount.published_epochs
    if published is not None and published != amount.epochs:
        parts.append(f"{plural(amount.epochs, 'epoch')} (published: {published:,})")
    else:
        parts.append(plural(amount.epochs, "epoch"))
    return f"{stamp(amount)}: {', '.join(parts)}"


def _part(used: int, whole: int | None, what: str) -> str:
    if whole is None:
        return f"a part of {used:,} {what}"
    return f"{used:,} of {whole:,} {what}" if used < whole else f"all {whole:,} {what}"


def amount_of(record: Record) -> Amount:
    """How much of the data a run used; a `limit` whose whole is not recorded leaves the whole open."""
    sizes, task = record.data.get("sizes") or {}, record.configuration.get("task")
    options: Mapping[str, Any] = task if isinstance(task, dict) else {}
    whole: Mapping[str, Any] = record.data.get("whole") or {}  # type: ignore[assignment]

    def part(name: str, limit: Any) -> tuple[int, int | None]:
        used = int(sizes.get(name) or 0)
        return used, whole.get(name, None if limit is not None else used)

    return Amount(
        data=record.data["kind"],
        training=part("train", options.get("limit") or record.configuration.get("limit")),
        test=part("test", options.get("test_limit")),
        validation=int(sizes.get("valid") or 0),
        epochs=int(record.configuration.get("epochs") or record.result.get("epochs") or 0),
    )

"""What a study's `set` says: for every run, for a task, for a method; and that each of it holds somewhere."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from delrec_bench.config import defaults, full_keys
from delrec_bench.errors import BenchError, nearest
from delrec_bench.methods.base import Method
from delrec_bench.studies.sweep import held

GROUPS = ("task", "training", "network", "seeds", "evaluation")


def settings_of(
    table: Mapping[str, Any], study: str, known: Iterable[str], owners: Collection[str]
) -> dict[str | None, dict[str, Any]]:
    """What `set` says by dotted key: for every run (None), and for the tasks and methods that it names."""
    for name, value in table.items():
        if isinstance(value, dict) and name not in owners and name not in GROUPS:
            raise BenchError(f"study '{study}': unknown table 'set.{name}'; {nearest(name, [*owners, *GROUPS])}")
        if name in owners and not isinstance(value, dict):
            raise BenchError(f"study '{study}': set.{name} is {value!r}; it must be a table of settings")

    said: dict[str | None, Mapping[str, Any]] = {None: {k: v for k, v in table.items() if k not in owners}}
    said |= {owner: values for owner, values in table.items() if owner in owners}
    found = {owner: full_keys(values, known, f"study '{study}', {_name(owner)}") for owner, values in said.items()}
    for owner, key in ((owner, key) for owner, of in found.items() for key in of):
        if key.startswith("seeds."):  # the repetitions would be copies of one run
            raise BenchError(f"study '{study}', {_name(owner)}: {key} belongs to the repetitions; leave it out")
    return found


def check_set(
    own: Mapping[str | None, Mapping[str, Any]],
    beside: Mapping[str | None, Mapping[str, Any]],
    axes: Mapping[str, Sequence[Any]],
    methods: Mapping[str, Method],
    study: str,
) -> None:
    """Refuse what could never hold: a setting that is swept, or that no method has.

    Args:
        own: What the profile itself sets.
        beside: What is set on the same level as the sweep; elsewhere one of the two goes over the other.
        axes: What is swept.
        methods: Those of the study.
        study: Its name.
    """
    for owner, key in ((owner, key) for owner, of in beside.items() for key in of):
        if any(all(key in held(axis, value) for value in values) for axis, values in axes.items()):
            raise BenchError(f"study '{study}': {key} is swept and stands in {_name(owner)}; leave one of them out")
    known = {key for method in methods.values() for key in defaults(method)}
    for owner, key in ((owner, key) for owner, of in own.items() for key in of):
        if key not in known:
            raise BenchError(f"study '{study}', {_name(owner)}: none of {', '.join(methods)} has {key}; leave it out")


def _name(owner: str | None) -> str:
    return f"set.{owner}" if owner else "set"

"""The axes of a sweep: what each value holds, which methods have it, and every combination."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from delrec_bench.config import dotted, full_key, full_keys, toml_value
from delrec_bench.errors import BenchError


def points(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the axes' values, the first axis slowest; one that is empty where there is no axis."""
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def axes_of(table: Mapping[str, list[Any]], study: str, known: Iterable[str]) -> dict[str, list[Any]]:
    """The axes of a sweep by dotted key. Seeds are no axis: they belong to the repetitions."""
    names = list(known)

    def full(key: str) -> str:
        try:
            name = full_key(key, names)
        except BenchError as error:
            raise BenchError(f"study '{study}', sweep: {error}") from error
        if name.startswith("seeds."):
            raise BenchError(f"study '{study}', sweep: {name} belongs to the repetitions; sweep another setting")
        return name

    axes: dict[str, list[Any]] = {}
    where: dict[str, str] = {}  # setting -> the axis that holds it
    for key, values in table.items():
        if isinstance(values[0], dict):
            axis, settings = key, [{k: v for k, v in value.items() if k != "name"} for value in values]
            for of in settings:
                for name in dotted(of):
                    full(name)
            kept = [full_keys(of, names, f"study '{study}', sweep.{key}") for of in settings]
            found = [{"name": value["name"], **of} for value, of in zip(values, kept, strict=True)]
        else:
            axis, found = full(key), values
        for name in {name for value in found for name in held(axis, value)}:
            if where.setdefault(name, key) != key:
                raise BenchError(f"study '{study}', sweep: {where[name]} and {key} both hold {name}; sweep it once")
        axes[axis] = found
    return axes


def held(axis: str, value: Any) -> dict[str, Any]:
    """The settings of one value of an axis."""
    return {k: v for k, v in value.items() if k != "name"} if isinstance(value, dict) else {axis: value}


def called(value: Any) -> Any:
    """What stands for one value of an axis in a request's `point`: itself, a table's name, a list's text."""
    if isinstance(value, list):
        return toml_value(value)
    return value["name"] if isinstance(value, dict) else value


def left_out(
    table: Mapping[str, Any], axes: Mapping[str, Sequence[Any]], known: Collection[str], where: str
) -> dict[str, list[Any]]:
    """Where on the axes a method with the settings `known` is left out: axis -> values as a request's `point` has them.

    Raises:
        BenchError: No such axis, or none of this method; no such value on it, or nothing but such values.
    """
    out = {}
    for axis, values in full_keys(table, axes, where).items():
        if not has(axis, axes[axis], known):
            raise BenchError(f"{where}: it is not swept along {axis}; leave that out")
        there = [called(value) for value in axes[axis]]
        asked = [called(value) for value in values] if isinstance(values, list) else [values]
        if not asked or any(value not in there for value in asked) or all(value in asked for value in there):
            raise BenchError(f"{where}.{axis} is {values!r}; it must be a part of what is swept: {there}")
        out[axis] = asked
    return out


def said(value: Any, usual: Any) -> Any:
    """A setting's value as a study says it: the word "none" is None, as for `--set`, where the setting is no word."""
    return None if value == "none" and not isinstance(usual, str) else value


def has(axis: str, values: Sequence[Any], known: Collection[str]) -> bool:
    """Whether a method with the settings `known` has an axis."""
    return any(key in known for value in values for key in held(axis, value))

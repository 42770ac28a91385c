"""The axes of a sweep: what each value holds, which methods have it, and every combination."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from delrec_bench.config import full_keys, toml_value
from delrec_bench.errors import BenchError


def points(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the axes' values, the first axis slowest; one that is empty where there is no axis."""
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def axes_of(table: Mapping[str, list[Any]], study: str, known: Iterable[str]) -> dict[str, list[Any]]:
    """The axes of a sweep by dotted key. Seeds are no axis: they belong to the repetitions."""
    names, where = list(known), f"study '{study}', sweep"
    axes: dict[str, list[Any]] = {}
    holders: dict[str, str] = {}  # setting -> the axis that holds it
    for key, values in table.items():
        if isinstance(values[0], dict):
            given = [{name: value for name, value in point.items() if name != "name"} for point in values]
            settings = [full_keys(of, names, where) for of in given]
            axes[key] = [{"name": point["name"], **of} for point, of in zip(values, settings, strict=True)]
            inside = {name for of in settings for name in of}
        else:
            inside = set(of := full_keys({key: values}, names, where))
            axes |= of
        for name in inside:
            if name.startswith("seeds."):
                raise BenchError(f"{where}: {name} belongs to the repetitions; sweep another setting")
            if holders.setdefault(name, key) != key:
                raise BenchError(f"{where}: {holders[name]} and {key} both hold {name}; sweep it once")
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

"""Strict models (pydantic) of what comes from people or files.

A wrong field is a `BenchError` of one line that names the field, its value and what it must be; a wrong key names the
nearest right one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar, dataclass_transform, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from delrec_bench.errors import BenchError, nearest

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
LONGEST = 80  # characters of a value in a message

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class FileTable(BaseModel):
    """A table of a file: frozen, without unknown keys, of exactly the types it declares. Made by `checked`."""

    model_config = ConfigDict(**STRICT, frozen=True)


def checked(model: type[M], values: Mapping[str, Any], where: str, prefix: str = "") -> M:
    """The model of a file's table; a `BenchError` says which key is unknown, or which value is wrong.

    Its message begins with `where`, the file and the table in it; a field's name begins with `prefix`.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise BenchError(f"{where}: {told(error, list(model.model_fields), prefix, model)}") from None


@dataclass_transform(frozen_default=True)
def settings(prefix: str, error: type[Exception] = BenchError) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen pydantic dataclass, checked whenever it is made; a wrong field is an `error`.

    `prefix` stands before a field's name where people write it, such as "training." or "--".
    """

    def decorate(cls: type[T]) -> type[T]:
        made: Any = dataclass(frozen=True, config=STRICT)(cls)
        inner = made.__init__

        @wraps(inner)
        def initialise(self: Any, *arguments: Any, **named: Any) -> None:
            try:
                inner(self, *arguments, **named)
            except ValidationError as found:
                raise error(told(found, [item.name for item in fields(made)], prefix)) from None

        made.__init__ = initialise
        return made

    return decorate


def told(error: ValidationError, known: list[str], prefix: str = "", model: Any = None) -> str:
    """One line about the first fault that pydantic found in a model with the `known` fields."""
    unknown = ("extra_forbidden", "unexpected_keyword_argument")
    # A misspelt key is often a missing one too; the misspelling says more.
    first = min(error.errors(), key=lambda one: one["type"] not in unknown)
    place = [known[part] if isinstance(part, int) and not index else part for index, part in enumerate(first["loc"])]
    name = prefix + ".".join(str(part) for part in place)
    if first["type"] in unknown:
        for part in (part for part in place[:-1] if model and isinstance(part, str)):  # the table in a field or a list
            kind = model.model_fields[part].annotation
            model = (*get_args(kind), kind)[0]
            known, prefix = list(model.model_fields), name.removesuffix(str(place[-1]))
        return f"unknown key '{name}'; {nearest(name, [prefix + field for field in known])}"
    if first["type"] in ("missing", "missing_argument"):
        return f"{name} is missing"
    if not first["loc"]:
        return str(first["ctx"]["error"])  # of the whole
    value = repr(first["input"])
    value = value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
    if first["type"] == "value_error":
        return f"{name} is {value}; it must be {first['ctx']['error']}"
    return f"{name} is {value}; {re.sub(r'^[A-Z][a-z]+ should', 'it must', first['msg'])}"


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one table with dotted keys."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        out |= dotted(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return out

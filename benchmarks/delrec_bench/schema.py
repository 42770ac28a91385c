"""Models (pydantic): what comes from people or files is checked once, field by field.

A wrong field is a `BenchError` of one line that names the field, its value, and what it must be; a wrong key names the
nearest right one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar, dataclass_transform

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from delrec_bench.errors import BenchError, nearest

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
LONGEST = 80  # characters of a value in a message

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_WANTED = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "float_type": "a number",
    "finite_number": "a finite number",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "one of {expected}",
    "model_type": "a table",
    "string_type": "a word",
    "too_short": "a list of at least {min_length}",
    "tuple_type": "a list",
    "value_error": "{error}",
}


class FileTable(BaseModel):
    """A table of a file: frozen, without unknown keys, of exactly the types it declares. Made by `checked`."""

    model_config = ConfigDict(**STRICT, frozen=True)


def checked(model: type[M], values: Mapping[str, Any], where: str, prefix: str = "") -> M:
    """The model of a file's table.

    Args:
        model: Its class.
        values: What the file says.
        where: What stands before the message: the file, and the table in it.
        prefix: What stands before a field's name where people write it.

    Raises:
        BenchError: A key that is not known, or a value that is not what it must be.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise BenchError(f"{where}: {told(error, list(model.model_fields), prefix)}") from None


@dataclass_transform(frozen_default=True)
def settings(prefix: str, error: type[Exception] = BenchError) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen pydantic dataclass, checked whenever it is made.

    Args:
        prefix: What stands before a field's name where people write it, such as "training." or "--".
        error: What is raised for a field that is not what it must be.
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


def told(error: ValidationError, known: list[str], prefix: str = "") -> str:
    """One complaint of pydantic in the suite's words.

    Args:
        error: What pydantic raised.
        known: The model's fields, in order.
        prefix: As for `settings`.
    """
    # A misspelt key is often a missing one too; the misspelling says more.
    first = min(error.errors(), key=lambda one: one["type"] not in _UNKNOWN)
    place = [known[part] if isinstance(part, int) and not index else part for index, part in enumerate(first["loc"])]
    name = prefix + ".".join(str(part) for part in place)
    if first["type"] in _UNKNOWN:
        return f"unknown key '{name}'; {nearest(name, [prefix + field for field in known])}"
    if first["type"] in ("missing", "missing_argument"):
        return f"{name} is missing"
    if not first["loc"]:
        return str(first["ctx"]["error"])  # of the whole
    value = repr(first["input"])
    value = value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
    context = {key: f"{limit:g}" if isinstance(limit, float) else limit for key, limit in first.get("ctx", {}).items()}
    wanted = _WANTED[first["type"]].format(**context) if first["type"] in _WANTED else first["msg"]
    if first["type"] == "literal_error":
        guess = nearest(str(first["input"]), re.findall(r"'([^']*)'", context["expected"]))
        wanted += f"; {guess}" if guess.startswith("did") else ""
    return f"{name} is {value}; it must be {wanted}"


def json_schema(model: Any) -> dict[str, Any]:
    """The JSON schema of a model or of a class made by `settings`."""
    return TypeAdapter(model).json_schema()

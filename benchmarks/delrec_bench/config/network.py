"""The settings of a method as a model of its own, made from the defaults that the method declares."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, create_model

from delrec_bench.errors import BenchError
from delrec_bench.methods.base import Method
from delrec_bench.methods.stack import refused
from delrec_bench.schema import Table, checked

LARGEST = 100_000_000  # of any number in a network's settings
WIDEST = 10_000_000  # neurons of a hidden layer


def _within(value: Any) -> Any:
    """A number, or a list of them, that is no larger than a network's settings can be."""
    for number in value if isinstance(value, list | tuple) else [value]:
        if isinstance(number, int | float) and not (math.isfinite(number) and abs(number) <= LARGEST):
            raise ValueError(f"from -{LARGEST} to {LARGEST}")
    return value


def _widths(value: Any) -> Any:
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= WIDEST for n in value)
    if not value or not whole:
        raise ValueError(f"a list of whole numbers from 1 to {WIDEST}, one a layer")
    return value


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else [value]


@cache
def network_model(method: Method) -> type[BaseModel]:
    """A model of a method's settings: each of its default's type; anything where the default is none.

    A setting that is a list takes a single value for a list of one.
    """
    declared: dict[str, Any] = {}
    for name, default in method.settings.items():
        kind: Any = Any if default is None else type(default)
        if isinstance(default, list | tuple):
            kind, default = Annotated[list[Any], BeforeValidator(_listed)], list(default)
        limit = _widths if name == "hidden" else _within
        declared[name] = (Annotated[kind, AfterValidator(limit)], default)
    return create_model(f"Network of {method.name}", __base__=Table, **declared)


def checked_network(method: Method, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a method's network, checked.

    Raises:
        BenchError: A value of another type than its default, or out of range; delays that cannot start so.
    """
    network = checked(network_model(method), values, f"method '{method.name}'", "network.").model_dump()
    if (why := refused(network)) is not None:
        raise BenchError(f"method '{method.name}': {why}")
    return network

"""What a kernel is compiled for, so that it can be compiled ahead of time and on a machine without a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Compilation", "signature_of"]


class Compilation(NamedTuple):
    """A kernel as it is launched: its name in tables, the jit function, types of arguments, constants and options.

    signature: name -> type in Triton's words ("*fp32", "i32", "constexpr"), in the order of the arguments; ":16" behind
    it, where a launch finds an address or a number that 16 divides. options: num_warps, num_stages and the like.
    """

    name: str
    function: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any]
    options: Mapping[str, Any]


def signature_of(function: Any, types: Mapping[str, str]) -> dict[str, str]:
    """Return a kernel's signature: `types` as given, constants by their annotation, and every other a whole number."""
    constants = {parameter.name for parameter in function.params if parameter.is_constexpr}
    return {name: "constexpr" if name in constants else types.get(name, "i32") for name in function.arg_names}

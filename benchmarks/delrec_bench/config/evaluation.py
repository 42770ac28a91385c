"""Conditions of evaluation: under which a trained network is scored once more, beside the plain score of its run."""

from dataclasses import asdict, fields
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from delrec_bench.config.lesions import LESIONS, parse_lesion
from delrec_bench.data.transforms import CONDITIONS, transform_of
from delrec_bench.errors import BenchError
from delrec_bench.schema import settings

PLAIN = (None, "", "none")
"""How a setting of `evaluation` says that nothing is to be done."""


def _given(value: Any) -> Any:
    return None if value in PLAIN else value


def _condition(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        transform_of(text, 1)
    except BenchError as error:
        raise ValueError(f"none, or one of {', '.join(CONDITIONS)} with its level, as deletion=0.3: {error}") from error
    name, _, level = text.partition("=")
    return f"{name}={float(level):.12g}"


def _lesion(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        name, level = parse_lesion(text)
    except BenchError as error:
        raise ValueError(f"none, or one of {', '.join(LESIONS)}, as permute or noise=2: {error}") from error
    return f"{name}={level:.12g}" if LESIONS[name].unit else name


@settings("evaluation.")
class Evaluation:
    """How a trained network is scored, where it is not as deployed on the test set as it is.

    No setting of it is in the configuration, and so in the key, of an ordinary run: a run under a condition is DERIVED
    from the run with the same remaining settings, whose network is loaded and scored anew. "" and "none" say that
    nothing is to be done.

    Attributes:
        condition: What happens to the events of the test set, a `name=level` of `delrec_bench.data.transforms`.
        lesion: What happens to the trained delays, a `name` or `name=level` of `delrec_bench.config.lesions`.
        deployment: "unrounded" leaves delays real, "sigma" leaves the spread on at which the training stood.

    Raises:
        BenchError: A value that is unknown or out of range.
    """

    condition: Annotated[str | None, AfterValidator(_condition), BeforeValidator(_given)] = None
    lesion: Annotated[str | None, AfterValidator(_lesion), BeforeValidator(_given)] = None
    deployment: Annotated[Literal["unrounded", "sigma"] | None, BeforeValidator(_given)] = None

    def canonical(self) -> dict[str, str]:
        """What is set, for the key and the record: nothing of a plain run."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.canonical().items()) or "deployed"


NAMES = tuple(item.name for item in fields(Evaluation))


def is_set(key: str, value: Any) -> bool:
    """Whether an override asks for a condition of evaluation."""
    return is_evaluation(key) and value not in PLAIN


def is_evaluation(key: str) -> bool:
    """Whether a key, dotted or short, is one of `evaluation`."""
    return key in NAMES or key.startswith("evaluation.")

"""What a published page's json must hold for whoever reads it again: README's blocks, and the page when redrawn."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from delrec_bench.errors import BenchError
from delrec_bench.records.record import faults
from delrec_bench.report.rows import COLUMNS

Json = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Verdict(_Part):
    hypothesis: str
    task: str
    kind: Literal["primary", "exploratory"]
    verdict: Literal["better", "worse", "equivalent", "open"]
    difference: float | None
    low: float | None
    high: float | None
    margin: float | None
    n: int


class _Repetition(_Part):
    task: str
    method: str
    repetition: int
    key: str


class _Diverged(_Part):
    row: str
    task: str
    method: str
    repetition: int
    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    error: str
    command: str


class _Figure(_Part):
    name: str = Field(pattern=r"^[\w.-]+$")
    title: str
    caption: str


def _whole(row: Json) -> Json:
    lacking = [name for name in ("kind", *COLUMNS) if name not in row]
    named = all(isinstance(row.get(name), str) for name in ("task", "method", "kind"))
    if lacking or not named:
        raise ValueError(f"a row with task, method and kind{', and ' + ', '.join(lacking[:4]) if lacking else ''}")
    return row


class Twin(_Part):
    """The fields of <page>.json that are read again; of a row its columns."""

    page: str
    title: str
    study: str
    profile: str
    answer: list[str] = Field(min_length=1)
    contrasts: list[str]
    verdicts: list[_Verdict]
    rows: list[Annotated[Json, AfterValidator(_whole)]]
    repetitions: list[_Repetition]
    diverged: list[_Diverged]
    figures: list[_Figure]


def read_twin(path: Path) -> tuple[Twin, Json]:
    """A page's json, checked, and as it is.

    Raises:
        BenchError: It is no page's, or not of the folder that it lies in.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        twin = Twin.model_validate(content)
        if twin.page != path.parent.name:
            raise ValueError(f"page is {twin.page[:80]!r}, in the folder of another")
    except (ValueError, RecursionError, OSError) as error:
        why = faults(error) if isinstance(error, ValidationError) else str(error)
        raise BenchError(f"{path} is no page's json ({why}): publish that page again, or delete it") from error
    return twin, content


def twins(reports: Path) -> Iterator[Path]:
    """The json of every published page, by name."""
    return (path for path in sorted(Path(reports).glob("*/*.json")) if path.stem == path.parent.name)


def rows_data(rows: list[Json]) -> Mapping[str, None]:
    """The stamps of the data of rows, each once."""
    return dict.fromkeys(row["data"] for row in rows if row["data"])

"""What comes in as TOML: profiles of presets, and the values of `--set`."""

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError, nearest
from delrec_bench.tasks.base import Task

PRESETS = Path(__file__).parent / "presets"


def profiles() -> dict[str, dict[str, Any]]:
    """Every profile by name: a TOML file of presets, a table for each task or family of tasks.

    Raises:
        BenchError: A file that does not parse.
    """
    return _read_all(PRESETS)


@cache
def _read_all(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: read_toml(path) for path in sorted(folder.glob("*.toml"))}


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file.

    Raises:
        BenchError: It is not there or does not parse; the message names the file and the line.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        dotted(content)
        return content
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}; give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not TOML: {error}; mend the file") from error
    except RecursionError:
        raise BenchError(f"{path} is nested too deeply to be read; write its tables flat") from None


def preset(profile: str, task: Task) -> dict[str, Any]:
    """The dotted settings that a profile has for a task, those of its family first.

    Raises:
        BenchError: No such profile, or it says nothing about the task.
    """
    known = profiles()
    if profile not in known:
        raise BenchError(f"no profile '{profile}'; {nearest(profile, known)}")
    tables = [known[profile][name] for name in (task.family, task.name) if name in known[profile]]
    if not tables:
        has = [name for name, value in known[profile].items() if isinstance(value, dict)]
        fits = [name for name, content in known.items() if task.family in content or task.name in content]
        raise BenchError(
            f"profile '{profile}' has no setting for task '{task.name}' (it has: {', '.join(has)}); "
            f"profiles for this task: {', '.join(fits) or 'none'}"
        )
    merged: dict[str, Any] = {}
    for table in tables:
        merged |= dotted({k: v for k, v in table.items() if isinstance(v, dict)})
    if profile == "quick":
        merged |= {f"task.{name}": value for name, value in task.quick.items()}
    return merged


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one table with dotted keys."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}.{name}" if prefix else name
        out |= dotted(value, key) if isinstance(value, Mapping) else {key: value}
    return out


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` to (key, value): the value as TOML, as comma-separated numbers, or else as a word.

    Raises:
        BenchError: There is no '=', or no key or value beside it.
    """
    key, equals, raw = text.partition("=")
    key, raw = key.strip(), raw.strip()
    if not equals or not key or not raw:
        raise BenchError(f"--set {text!r} is not key=value; write for instance --set network.hidden=64,64")
    for candidate in (raw, f"[{raw}]" if "," in raw else raw):
        try:
            return key, tomllib.loads(f"value = {candidate}")["value"]
        except tomllib.TOMLDecodeError:
            continue
        except RecursionError:
            raise BenchError(f"--set {key}: the value is nested too deeply; write a number, a list or a word") from None
    if raw[0] in "[{\"'":
        raise BenchError(f'--set {text!r}: the value does not parse as TOML; write numbers, [lists], true or "text"')
    return key, None if raw in ("none", "null") else raw


def toml_value(value: Any) -> str:
    """A value as `parse_setting` reads it back."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_quoted(v) if isinstance(v, str) else toml_value(v) for v in value) + "]"
    return _quoted(value) if isinstance(value, str) and not _is_bare(value) else str(value)


def _quoted(word: str) -> str:
    return json.dumps(word, ensure_ascii=False)  # JSON's strings are TOML's basic ones


def _is_bare(word: str) -> bool:
    """Whether a word without quotes is read as that word."""
    try:
        return parse_setting(f"key={word}")[1] == word
    except BenchError:
        return False

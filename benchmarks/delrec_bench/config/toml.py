"""TOML: profiles of presets, and the values of `--set`."""

import json
import tomllib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from delrec_bench.errors import BenchError, nearest
from delrec_bench.schema import dotted
from delrec_bench.tasks.task import Task


@cache
def profiles() -> dict[str, dict[str, Any]]:
    """Every profile by name: a TOML file of presets, a table for each task or family of tasks."""
    return {path.stem: read_toml(path) for path in sorted((Path(__file__).parent / "presets").glob("*.toml"))}


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file; a `BenchError` names the file and the line that does not parse."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        dotted(content)
        return content
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}; give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not TOML: {error}") from error
    except RecursionError:
        raise BenchError(f"{path} is nested too deeply; use fewer levels") from None


def preset(profile: str, task: Task) -> dict[str, Any]:
    """The dotted settings that a profile has for a task, those of its family first."""
    known = profiles()
    if profile not in known:
        raise BenchError(f"no profile '{profile}'; {nearest(profile, known)}")
    merged: dict[str, Any] = {}
    for name in (task.family, task.name):
        merged |= dotted({k: v for k, v in known[profile].get(name, {}).items() if isinstance(v, dict)})
    if not merged:
        fits = [name for name, content in known.items() if task.family in content or task.name in content]
        raise BenchError(
            f"profile '{profile}' has no setting for task '{task.name}'; "
            f"profiles for this task: {', '.join(fits) or 'none'}"
        )
    if profile == "quick":
        merged |= {f"task.{name}": value for name, value in task.quick.items()}
    return merged


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` to (key, value): the value as TOML, as comma-separated numbers, or else as a word."""
    key, _, raw = (part.strip() for part in text.partition("="))
    if not key or not raw:
        raise BenchError(f"--set {text!r} is not key=value; write, for example, --set network.hidden=64,64")
    for candidate in (raw, f"[{raw}]" if "," in raw else raw):
        with suppress(tomllib.TOMLDecodeError, RecursionError):
            return key, tomllib.loads(f"value = {candidate}")["value"]
    if raw[0] in "[{\"'":
        raise BenchError(f'--set {key}: the value is not valid TOML; write numbers, [lists], true or "text"')
    return key, None if raw in ("none", "null") else raw


def toml_value(value: Any) -> str:
    """A value as `parse_setting` reads it back: a plain word without quotes."""
    if value is None:
        return "none"
    if isinstance(value, str):
        with suppress(BenchError):
            if parse_setting(f"key={value}")[1] == value:
                return value
    return json.dumps(value, ensure_ascii=False)  # JSON's strings, numbers and lists are TOML's too

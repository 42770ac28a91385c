"""What pages say of methods, tasks, metrics, studies, schemas and modules is read from the code as they are built.

A page holds a line `<!-- generated: NAME -->`, for which stands what the function of that name in `GENERATED` gives.
"""

import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import delrec
import delrec_baselines
import delrec_bench.studies
import delrec_bench.tasks
import griffe
from delrec_bench.config import Evaluation, Request, TrainingConfig
from delrec_bench.data.task_data import TaskData, TaskOptions
from delrec_bench.methods.base import Method, find_methods
from delrec_bench.metrics import find_metrics
from delrec_bench.records import Failure, Record
from delrec_bench.studies.file import StudyFile
from delrec_bench.tasks.base import find_tasks
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import TypeAdapter
from several import joined

ELSEWHERE = re.compile(r"<(?:script|link|img|iframe)[^>]*\s(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
ROOT = Path(__file__).parents[2]
MARK = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
SCHEMAS = {
    "record": Record,
    "failure": Failure,
    "study": StudyFile,
    "request": Request,
    "training": TrainingConfig,
    "task-options": TaskOptions,
    "evaluation": Evaluation,
}
"""What `schema/NAME.json` describes."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the JSON schemas as files of the site."""
    for name in SCHEMAS:
        text = json.dumps(_schema(name), indent=1, sort_keys=True) + "\n"
        files.append(File.generated(config, f"schema/{name}.json", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace every mark of a page."""

    def made(mark: re.Match[str]) -> str:
        if mark[1] not in GENERATED:
            raise PluginError(f"{page.file.src_path}: nothing generates '{mark[1]}'; write one of {sorted(GENERATED)}")
        return GENERATED[mark[1]]()

    return MARK.sub(made, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that loads anything from elsewhere."""
    if found := ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_path}: {found[0]} is loaded from elsewhere; the pages must work offline")
    return output


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _linked(text: str) -> str:
    """A text whose addresses, DOIs and arXiv numbers are links."""
    text = re.sub(r"(?<![\w/])(https?://[^\s;,()]+)", r"[\1](\1)", text)
    text = re.sub(r"(?<![\w/])doi:(10\.[^\s;,]+)", r"[doi:\1](https://doi.org/\1)", text)
    return re.sub(r"(?<![\w/])arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _methods() -> str:
    """Every method, a table a module of methods/, in the order of their names."""
    by_source: dict[str, list[Method]] = {}
    for method in find_methods().values():
        by_source.setdefault(method.source, []).append(method)
    parts = []
    for source, methods in by_source.items():
        rows = (
            (
                f"`{method.name}`" + (" (quick)" if method.quick else ""),
                method.summary,
                method.learned,
                f"`{method.control}`" if method.control else "",
                _presets(method),
            )
            for method in methods
        )
        head = ("method", "what it is", "learned", "compared with", "own settings for")
        parts += [f"**{_linked(source)}**", _table(head, rows)]
    return "\n\n".join(parts)


def _presets(method: Method) -> str:
    named = (" ".join([task, *([] if profile == "*" else [f"({profile})"])]) for task, profile in method.presets)
    return "; ".join(name.replace("*", "everywhere") for name in named)


def _tasks() -> str:
    """Every task."""
    parts = []
    for task in find_tasks().values():
        rows = {
            "family": task.family,
            "metric": f"`{task.metric}`",
            "files": "none, or made here" if task.embedded else f"`delrec-bench data fetch {task.name}`",
            "`--data DIR`": "takes files of your own" if task.accepts_data else "",
            "in the quick profile": ", ".join(f"{key} = {value}" for key, value in task.quick.items()),
            "source": _linked(task.source),
            "licence": task.licence,
        }
        said = [(key, value) for key, value in rows.items() if value]
        parts += [f"## {task.name}", f"{task.summary[0].upper()}{task.summary[1:]}.", _table(("", ""), said)]
    return "\n\n".join(parts)


def _task_data() -> str:
    """The docstrings of what a task takes and gives, as they are."""
    return "\n\n".join(f"### {cls.__name__}\n\n```text\n{inspect.getdoc(cls)}\n```" for cls in (TaskData, TaskOptions))


def _metrics() -> str:
    """Every metric, with the first paragraph of its module's docstring."""
    rows = (
        (
            f"`{metric.name}`",
            inspect.getdoc(inspect.getmodule(metric.score)).split("\n\n")[0].replace("\n", " "),
            metric.unit,
            metric.direction,
            f"a {metric.predicts}",
        )
        for metric in find_metrics().values()
    )
    return _table(("metric", "definition", "unit", "better is", "a network gives"), rows)


def _studies() -> str:
    """Every study file of the package, as it is."""
    parts = []
    for path in sorted(Path(delrec_bench.studies.__path__[0]).glob("*.toml")):
        parts += [f"## {path.stem}", f"```toml\n{path.read_text(encoding='utf-8')}```"]
    return "\n\n".join(parts)


def _examples() -> str:
    """Every program of examples/, as it is."""
    paths = sorted((ROOT / "examples").glob("*.py"))
    return "\n\n".join(f"## {path.stem.replace('_', ' ').capitalize()}\n\n{_file(path)}" for path in paths)


def _file(path: Path) -> str:
    """A file of Python, whole."""
    return f"```python\n{path.read_text(encoding='utf-8')}```"


def _schema(name: str) -> dict[str, Any]:
    return TypeAdapter(SCHEMAS[name]).json_schema()


def _fields(name: str) -> Callable[[], str]:
    """A table of a schema's fields, and one for each object that it defines."""

    def made() -> str:
        schema, bases = _schema(name), SCHEMAS[name].__mro__[1:]
        inherited = {field: text for base in bases[::-1] for field, text in _told(base.__doc__ or "")[1].items()}
        parts = [_object(schema, inherited)]
        for title, inner in schema.get("$defs", {}).items():
            if inner.get("properties"):
                parts += [f"### {title}", _object(inner, {})]
        return "\n\n".join(parts)

    return made


def _told(docstring: str) -> tuple[str, dict[str, str]]:
    """The first paragraph of a docstring, and what it says of each attribute or argument."""
    summary, told = "", {}
    for section in griffe.Docstring(joined(inspect.cleandoc(docstring))).parse("google", warnings=False):
        if section.kind is griffe.DocstringSectionKind.text:
            summary = summary or section.value.split("\n\n")[0].replace("\n", " ")
        elif section.kind in (griffe.DocstringSectionKind.attributes, griffe.DocstringSectionKind.parameters):
            told |= {name: one.description for one in section.value for name in one.name.split(",")}
    return summary, told


def _object(schema: dict[str, Any], inherited: dict[str, str]) -> str:
    """One object: what it is, and its fields; what the schema does not say of a field is in a docstring."""
    summary, told = _told(schema.get("description", ""))
    told = inherited | told
    required = schema.get("required", [])
    rows = (
        (
            f"`{name}`",
            _kind(field),
            "" if name in required else f"`{json.dumps(field['default'])}`" if "default" in field else "may be absent",
            " ".join((field.get("description") or told.get(name, "")).split()),
        )
        for name, field in schema.get("properties", {}).items()
    )
    return summary + "\n\n" + _table(("field", "type", "else", "what it is"), rows)


def _kind(field: dict[str, Any]) -> str:
    """A field's type in a few words."""
    if "$ref" in field:
        return field["$ref"].rsplit("/", 1)[-1]
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    for several in ("anyOf", "oneOf"):
        if several in field:
            return " or ".join(dict.fromkeys(_kind(one) for one in field[several]))
    if field.get("type") == "array":
        return "list of " + _kind(field.get("items", {}))
    return str(field.get("type", "any"))


def _modules(package: Any) -> Callable[[], str]:
    """A directive of mkdocstrings for each public module of a package that declares something."""

    def made() -> str:
        names = [
            info.name
            for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
            if not info.name.rsplit(".", 1)[-1].startswith("_") and not info.ispkg
        ]
        return "\n\n".join(f"::: {name}" for name in names)

    return made


GENERATED: dict[str, Callable[[], str]] = {
    "methods": _methods,
    "tasks": _tasks,
    "task-data": _task_data,
    "metrics": _metrics,
    "studies": _studies,
    "examples": _examples,
    "own-neuron": lambda: _file(ROOT / "examples" / "own_neuron.py"),
    "nmnist": lambda: _file(Path(delrec_bench.tasks.__path__[0]) / "nmnist.py"),
    **{f"{name}-fields": _fields(name) for name in SCHEMAS},
    "core-modules": _modules(delrec),
    "baseline-modules": _modules(delrec_baselines),
}

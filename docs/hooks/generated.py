"""Fills the site's pages from the code and the reports.

What stands between `<!-- generated: NAME -->` and `<!-- end -->`, for readers on GitHub, is replaced by what the
function of that name in `GENERATED` returns.
"""

import pkgutil
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import delrec
import delrec_baselines
import delrec_bench.tasks
import griffe
import typer
from delrec_bench.app.command_line import build
from delrec_bench.config import searched
from delrec_bench.methods.method import find_methods
from delrec_bench.studies import file
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ELSEWHERE = re.compile(r"<(?:script|link|img|iframe)[^>]*\s(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
ROOT = Path(__file__).parents[2]
MARK = re.compile(r"^<!-- generated: ([\w-]+) -->\n(?:(?!<!-- generated:).)*?^<!-- end -->$", re.MULTILINE | re.DOTALL)
SHORT = "heading_level: 3, show_root_full_path: false"
SEVERAL = re.compile(r"^ +\w+(?:, \w+)+: ", re.MULTILINE)


class Several(griffe.Extension):
    """Lets a docstring describe two arguments at once, `a, b: ...`; griffe expects a single name."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Join the names before griffe parses them."""
        if obj.docstring is not None:
            obj.docstring.value = SEVERAL.sub(lambda names: names[0].replace(", ", ","), obj.docstring.value)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the figures and tables of all reports."""
    for path in sorted((ROOT / "reports").rglob("*.*")):
        if path.suffix in (".svg", ".csv", ".json", ".html"):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), content=path.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace every marked part of a page, and links that are for readers on GitHub."""

    def made(mark: re.Match[str]) -> str:
        if mark[1] not in GENERATED:
            raise PluginError(f"{page.file.src_path}: unknown mark '{mark[1]}'; use one of {sorted(GENERATED)}")
        return GENERATED[mark[1]]()

    filled = re.sub(r"\]\(\.\./(reports/[\w-]+/[\w-]+)\.md", r"](\1.html", MARK.sub(made, markdown))
    filled = filled.replace("](../CONTRIBUTING.md", "](method.md")
    if stray := re.search("<!-- (?:generated:.*|end) -->", filled):
        raise PluginError(f"{page.file.src_path}: {stray[0]} is one of a pair, and the other is missing")
    return filled


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Reject a page that loads anything from another server."""
    if found := ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_path}: {found[0]} loads from another server; pages must work offline")
    return output


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _report(page: str, deeper: int = 0) -> str:
    """A report, with headings moved down and links to its figures adapted."""
    text = (ROOT / "reports" / page / f"{page}.md").read_text(encoding="utf-8")
    text = re.sub(r"^(#+ )", "#" * deeper + r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"\]\(([\w.-]+\.(?:svg|csv|json|html))\)", rf"](reports/{page}/\1)", text)
    return text.replace("<details>", '<details markdown="1">')


def _board() -> str:
    """The leaderboard's figure, and what the README shows of it, with links adapted to the site."""
    figure = re.search(r"^!\[.*\]\(.*\)$", _report("leaderboard"), re.MULTILINE)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"\n## Results at a glance\n(.*)<!-- board:end -->", readme, re.DOTALL)
    text = (found[1] if found else "").replace("(reports/leaderboard/leaderboard.md", "(leaderboard.md")
    return (figure[0] if figure else "") + "\n\n" + text.replace("(docs/", "(")


def _reports() -> str:
    pages = sorted(path.parent.name for path in (ROOT / "reports").glob("*/*.md") if path.stem == path.parent.name)
    return "\n\n".join(_report(page, deeper=2) for page in pages if page != "leaderboard")


def _linked(text: str) -> str:
    """A text with its URLs, DOIs and arXiv numbers as links."""
    text = re.sub(r"(?<![\w/])(https?://[^\s;,()]+)", r"[\1](\1)", text)
    text = re.sub(r"(?<![\w/])doi:(10\.[^\s;,]+)", r"[doi:\1](https://doi.org/\1)", text)
    return re.sub(r"(?<![\w/])arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _methods() -> str:
    """Every method, grouped as on the leaderboard."""
    groups: dict[str, list[list[str]]] = {}
    for method in find_methods().values():
        row = [f"`{method.name}`", method.called, method.learned, f"`{method.control}`" if method.control else ""]
        groups.setdefault(method.family, []).append([*row, _linked(method.source)])
    head = ("method", "name in tables", "trained", "compared with", "source")
    return "\n\n".join(f"**{family.capitalize()}**\n\n{_table(head, rows)}" for family, rows in groups.items())


def _studies() -> str:
    rows = []
    for name, path in file.study_files().items():
        study = file.study_file(path)
        rows.append([f"`{name}`", study.summary, ", ".join(f"`{profile}`" for profile in study.profiles)])
    return _table(("study", "subject", "profiles"), rows)


def _searches() -> str:
    """What searches for the same row chose, as mean and standard deviation of their validation accuracies."""
    rows, methods = [], find_methods()
    for path in sorted(searched.FOLDER.glob("*.json")):
        found: dict[str, list[searched.Search]] = {}
        for one in searched.searches(path.stem):
            found.setdefault(one.entry, []).append(one)
        for entry, of in found.items():
            own = [100 * one.score for one in of]
            shared = [100 * final.mean for one in of for final in one.finals if final.number == 0]
            numbers = [f"{fmean(shared):.2f}", f"{fmean(own):.2f}", f"{stdev(own):.2f}" if len(own) > 1 else ""]
            rows.append([path.stem, methods[entry].called, str(len(of)), *numbers])
    return _table(("task", "method", "searches", "shared settings", "own settings", "sd of own"), rows)


def _commands() -> str:
    commands = typer.main.get_command(build()).commands.items()
    return _table(("command", "what it does"), ([f"`{name}`", one.get_short_help_str(300)] for name, one in commands))


def _program(path: Path) -> str:
    return f"```python\n{path.read_text(encoding='utf-8')}```"


def _examples() -> str:
    paths = sorted((ROOT / "examples").glob("*.py"))
    return "\n\n".join(f"### {path.stem.replace('_', ' ').capitalize()}\n\n{_program(path)}" for path in paths)


def _core_readme() -> str:
    """Core's README without its title and without links into the repository."""
    text = (ROOT / "packages" / "core" / "README.md").read_text(encoding="utf-8").partition("\n")[2]
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", text)


def _documented(*names: str, options: str = "heading_level: 3") -> str:
    """A mkdocstrings directive for each name."""
    return "\n\n".join(f"::: {name}\n    options: {{{options}}}" for name in names)


def _modules(package: Any) -> str:
    """The public modules of a package."""
    return _documented(
        *(
            info.name
            for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
            if not info.name.rsplit(".", 1)[-1].startswith("_") and not info.ispkg
        )
    )


def _included(*parts: str) -> str:
    """Files, or marked sections of files, which the snippets extension includes."""
    return "\n\n".join(f'--8<-- "{part}"' for part in parts)


GENERATED: dict[str, Callable[[], str]] = {
    "site": str,  # nothing
    "leaderboard": lambda: _report("leaderboard"),
    "board": _board,
    "reports": _reports,
    "methods": _methods,
    "studies": _studies,
    "searches": _searches,
    "commands": _commands,
    "examples": _examples,
    "core-readme": _core_readme,
    "nmnist": lambda: _program(Path(delrec_bench.tasks.__path__[0]) / "nmnist.py"),
    "contributing": lambda: _included(*(f"CONTRIBUTING.md:{part}" for part in ("method", "task", "study"))),
    "withdrawn": lambda: _included("CHANGELOG.md:withdrawn"),
    "changelog": lambda: _included("CHANGELOG.md:7:"),
    "fields": lambda: _documented(
        *(f"delrec_bench.{kind}s.{kind}.{kind.capitalize()}" for kind in ("method", "task", "metric")), options=SHORT
    ),
    "settings": lambda: _documented(
        "delrec_bench.config.TrainingConfig",
        "delrec_bench.data.task_data.TaskOptions",
        "delrec_bench.networks.configuration.NetworkConfig",
        options=SHORT,
    ),
    "suite-api": lambda: "\n\n".join(
        [
            _documented(
                "delrec_bench", options="heading_level: 3, show_root_heading: false, members: [run, results, evaluate]"
            ),
            _documented("delrec_bench.export.load_network", "delrec_bench.export.state_dicts.read_published"),
        ]
    ),
    "core-modules": lambda: _modules(delrec),
    "baseline-modules": lambda: _modules(delrec_baselines),
}

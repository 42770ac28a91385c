"""What README, CONTRIBUTING and the docs tell a reader to type is there: every command, option and nox session."""

import re
import tomllib
from pathlib import Path

import pytest
import typer
from delrec_bench.app.tree import build

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SAID = [
    (str(page.relative_to(ROOT)), words)
    for page in PAGES
    for words in re.findall(r"(?:^|`)delrec-bench ([^`#\n]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize(("page", "words"), SAID)
def test_a_command_that_a_page_shows_is_there_with_its_options(page, words):
    command, options = typer.main.get_command(build()), set()
    for word in words.split():
        if hasattr(command, "commands") and not word.startswith("-"):
            assert word in command.commands, f"{page}: delrec-bench {words}"
            command = command.commands[word]
        elif word.startswith("--"):
            options.add(word)
    assert options <= {name for parameter in command.params for name in parameter.opts}, f"{page}: {words}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_session_that_a_page_names_is_in_the_noxfile(page):
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    named = re.findall(r'^@nox\.session\(name="([\w-]+)"', noxfile, re.MULTILINE)
    known = {*re.findall(r"^def (\w+)\(session", noxfile, re.MULTILINE), *named}
    assert set(re.findall(r"nox -s ([\w-]+)", page.read_text(encoding="utf-8"))) <= known


def test_the_table_of_libraries_names_every_dependency():
    table = (ROOT / "docs" / "libraries.md").read_text(encoding="utf-8").split("## Still written by hand")[0]
    needed = set()
    for project in (ROOT, ROOT / "packages" / "core", ROOT / "packages" / "baselines"):
        said = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = said.get("optional-dependencies", {}).values()
        needed |= {re.split(r"[^\w-]", one)[0] for group in (said["dependencies"], *extras) for one in group}
    absent = {name for name in needed if not name.startswith("delrec") and name.lower() not in table.lower()}
    assert not absent

"""What README, CONTRIBUTING, the docs and `--help` tell a reader to type is there; the table of tasks is whole."""

import re
from pathlib import Path

import pytest
import typer
from delrec_bench.app.command_line import build
from delrec_bench.tasks.task import find_tasks

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = typer.main.get_command(build())
SHOWN = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
HELP = {f"{name} --help": command.epilog for name, command in COMMANDS.commands.items()} | {"--help": COMMANDS.epilog}
SAID = [
    (page, words)
    for page, text in (SHOWN | HELP).items()
    for words in re.findall(r"(?:^|`|\[bold])delrec-bench ([^`#\n\[]+)", text or "", re.MULTILINE)
]


@pytest.mark.parametrize(("page", "words"), SAID)
def test_a_command_that_a_page_shows_is_there_with_its_options(page, words):
    command, options = COMMANDS, set()
    for word in words.partition(" -- ")[0].split():
        if hasattr(command, "commands") and word.islower() and not word.startswith("-"):
            assert word in command.commands, f"{page}: delrec-bench {words}"
            command = command.commands[word]
        elif word.startswith("--"):
            options.add(word)
    assert options - {"--help"} <= {name for parameter in command.params for name in parameter.opts}, f"{page}: {words}"


@pytest.mark.parametrize("page", SHOWN)
def test_files_and_sessions_that_a_page_names_are_there(page):
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", SHOWN[page])
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    named = re.findall(r'^@nox\.session\(name="([\w-]+)"', noxfile, re.MULTILINE)
    known = {*re.findall(r"^def (\w+)\(session", noxfile, re.MULTILINE), *named}
    assert set(re.findall(r"nox -s ([\w-]+)", SHOWN[page])) <= known


def test_the_table_of_tasks_names_each_with_its_licence():
    rows = dict(re.findall(r"^\| `([\w-]+)` \|(.*)$", SHOWN["docs/tasks.md"], re.MULTILINE))
    assert set(rows) == set(find_tasks())
    assert all(task.licence in rows[name] for name, task in find_tasks().items())

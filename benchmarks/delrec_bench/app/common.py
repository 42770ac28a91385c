"""What commands that read records share: those of the workspace, of a page, and those that are committed."""

from pathlib import Path

from delrec_bench.app.progress import say
from delrec_bench.records import PAGE_FILE, Record, load_records, read_page
from delrec_bench.studies.expansion import pages
from delrec_bench.studies.file import study_file, study_path
from delrec_bench.studies.membership import assigned, of_page
from delrec_bench.workspace import Workspace


def own_records(workspace: Workspace) -> list[Record]:
    """The records of this workspace; each with the study that asked for it. A broken file is named on stderr."""
    broken: list[str] = []
    records = load_records(workspace.runs, broken)
    for message in broken:
        say(f"warning: {message}")
    return assigned(records, workspace, pages())


def page_records(workspace: Workspace, records: list[Record], page: str | None) -> list[Record]:
    """Those of `own_records` that are for the leaderboard, or for the page of one study."""
    return of_page(records, workspace, page, pages())


def committed_records(workspace: Workspace, page: str | None = None) -> list[Record]:
    """The records behind the committed leaderboard, or behind a study's own page."""
    path = workspace.reports / (page or "") / PAGE_FILE
    return read_page(path) if path.exists() else []


def title_of(page: str | None) -> str | None:
    """The heading of a study's own page; None for the leaderboard."""
    return None if page is None else f"{page}: {study_file(study_path(page)).summary}"


def here(path: Path, workspace: Workspace) -> str:
    """A path as seen from the root, where it lies below it."""
    return str(path.relative_to(workspace.root)) if path.is_relative_to(workspace.root) else str(path)

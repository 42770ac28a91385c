"""`audit`: published pages, or a submission, walked back to records, data and code."""

from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from delrec_bench.app.options import Answer, Places

if TYPE_CHECKING:
    from delrec_bench.interchange.submission import Submission
    from delrec_bench.records.audit import Finding

PANEL = "See"
EXAMPLES = (
    ("audit", "the pages of reports/, and the submissions that were collected"),
    ("audit theirs.zip", "a submission: its digests, its records, their data and code"),
    ("audit theirs.zip --rerun any --methods submissions/theirs-3f2a", "and one of its runs, made again"),
)


def command(
    places: Places,
    archives: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[ARCHIVE...]", help="Submissions (else pages, and what was collected)."),
    ] = None,
    rerun: Annotated[
        str | None,
        typer.Option(metavar="KEY|any", help="Make one run of a submission again: which, or one drawn by chance."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="The files that it was made on, where they are somebody's own.")
    ] = None,
) -> Answer:
    """Walk pages or submissions back to records, data and code; exit 1 where something no longer matches.

    A submission's method is executed for --rerun alone, and only if its file is named by --methods.
    """
    from delrec_bench.app.behind import audit_sentences
    from delrec_bench.data.dvc_files import listed
    from delrec_bench.environment import is_commit
    from delrec_bench.errors import BenchError
    from delrec_bench.interchange.submission import read_archive, read_submission
    from delrec_bench.records.audit import Against, Finding, audit, audit_records, pages_below
    from delrec_bench.report.checkpoints import audit_checkpoints
    from delrec_bench.studies.collecting import audit_submissions

    workspace = places.workspace
    files = {"/".join(PurePosixPath(path).parts[1:]): entry.digest for path, entry in listed(workspace).items()}
    against = Against(files, is_commit, workspace.runs)
    if not archives:
        if rerun is not None or data is not None:
            raise BenchError("--rerun makes a run of a submission again; name its archive (`rerun` takes any record)")
        findings = [*audit(workspace.reports, against), *audit_checkpoints(workspace.reports)]
        findings += audit_sentences(workspace, *places.tables())
        findings += audit_submissions(workspace, against)
        told = {"pages": len(pages_below(workspace.reports))}
    else:
        findings, told = [], {"submissions": len(archives)}
        for path in archives:
            content = read_archive(path)
            try:
                submission = read_submission(content, path.name)
            except BenchError as error:
                findings.append(Finding(path.name, "archive", str(error)))
                continue
            findings += audit_records(submission.records, against, path.name)
            if rerun is not None:
                findings += _again(places, path.name, submission, rerun, data)
    if not places.as_json:
        for finding in findings:
            print(f"{finding.page}: {finding.what}: {finding.text}")
        print(f"{', '.join(f'{count} {what}' for what, count in told.items())}, {len(findings)} findings")
    return (1 if findings else 0), {**told, "findings": [asdict(finding) for finding in findings]}


def _again(places: Places, name: str, submission: "Submission", wanted: str, data: str | None) -> "list[Finding]":
    """One run of a submission made again by the method that is named here, which must be the one submitted."""
    import hashlib
    import secrets

    from delrec_bench.app.common import early_agreement
    from delrec_bench.environment import say
    from delrec_bench.errors import BenchError
    from delrec_bench.interchange.submission import METHOD
    from delrec_bench.records.audit import Finding
    from delrec_bench.runs.again import rerun

    methods, tasks = places.tables()
    method = submission.manifest.method
    file = methods.files.get(method)
    if file is None:
        raise BenchError(f"'{method}' is not among the methods here: read its file, then name its folder by --methods")
    if hashlib.sha256(file.read_bytes()).hexdigest() != submission.manifest.files[METHOD].sha256:
        raise BenchError(f"'{method}' of {file} is not the one submitted; `collect` lays that one aside, for --methods")
    found = [r for r in submission.records if wanted == "any" or r.key.startswith(wanted)]
    if not found:
        raise BenchError(f"{name} has no run whose key begins with '{wanted}'; --rerun any takes one by chance")
    record = secrets.choice(found)
    _, outcome = rerun(record, methods, tasks, places.workspace, data, early=early_agreement)
    say(f"{record}: made again: {outcome.word}: {outcome.reason}")
    return [Finding(name, "run", f"{record}: {outcome.reason}")] if outcome.word == "different" else []

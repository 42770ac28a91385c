"""`audit`: published pages walked back to records, data and code."""

from dataclasses import asdict
from pathlib import PurePosixPath

from delrec_bench.app.options import Answer, Places

PANEL = "See"


def command(places: Places) -> Answer:
    """Walk the pages of reports/ back to records, data and code; exit 1 where something no longer matches."""
    from delrec_bench.data.dvc_files import listed
    from delrec_bench.environment import is_commit
    from delrec_bench.records.audit import Against, audit, pages_below

    workspace = places.workspace
    files = {"/".join(PurePosixPath(path).parts[1:]): entry.md5 for path, entry in listed(workspace).items()}
    pages = pages_below(workspace.reports)
    findings = audit(workspace.reports, Against(files, is_commit, workspace.runs))
    if not places.as_json:
        for finding in findings:
            print(f"{finding.page}: {finding.what}: {finding.text}")
        print(f"{len(pages)} pages, {len(findings)} findings")
    return (1 if findings else 0), {"pages": len(pages), "findings": [asdict(finding) for finding in findings]}

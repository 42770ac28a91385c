"""`audit`: published pages walked back to records, data and code."""

from argparse import Namespace
from dataclasses import asdict
from pathlib import PurePosixPath

from delrec_bench.app.common import Answer
from delrec_bench.data.files import listed
from delrec_bench.environment import is_commit
from delrec_bench.records.audit import Against, audit, pages_below
from delrec_bench.workspace import find_workspace


def audited(arguments: Namespace) -> Answer:
    """Say what no longer matches behind the pages of reports/; exit 1 where something does not."""
    workspace = find_workspace(arguments.root, arguments.runs)
    files = {"/".join(PurePosixPath(path).parts[1:]): entry.md5 for path, entry in listed(workspace).items()}
    pages = pages_below(workspace.reports)
    findings = audit(workspace.reports, Against(files, is_commit, workspace.runs))
    if not arguments.json:
        for finding in findings:
            print(f"{finding.page}: {finding.what}: {finding.text}")
        print(f"{len(pages)} pages, {len(findings)} findings")
    return (1 if findings else 0), {"pages": len(pages), "findings": [asdict(finding) for finding in findings]}

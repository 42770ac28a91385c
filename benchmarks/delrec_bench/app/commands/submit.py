"""`submit`: a method, its runs and what they were made in, as one archive for somebody else's board."""

from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

PANEL = "Files"
EXAMPLES = (("submit mine --methods ./my-methods --by 'A. Name, Some Lab'", "write out/submissions/mine.zip"),)


def command(
    places: Places,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Whose finished runs are packed.")],
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who made it, as its row will say (else git's user.name).")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.zip", help="Else out/submissions/METHOD.zip.")] = None,
) -> Answer:
    """Pack a method's file, the records of its runs, its environment and the digest of each in one archive."""
    import re

    from delrec_bench.app.common import own_records
    from delrec_bench.environment import git_user
    from delrec_bench.errors import BenchError
    from delrec_bench.interchange.submission import pack
    from delrec_bench.records import RESULTS_VERSION

    workspace = places.workspace
    methods, _ = places.tables()
    methods[method]
    by = git_user(workspace.root) if by is None else by
    if not by:
        raise BenchError("nobody is named: say who made it, --by NAME (git has no user.name here)")
    records = [
        record.changed(study=None, search=None)
        for record in own_records(workspace)
        if record.method == method
        and record.kind in ("run", "floor")
        and record.provenance.get("results_version") == RESULTS_VERSION
        and record.provenance.get("submitter") in (None, by)
    ]
    name = re.sub(r"[^A-Za-z0-9.+-]+", "-", method).strip("-.") or "method"
    path = out or workspace.root / "out" / "submissions" / f"{name}.zip"
    made = pack(path, method, methods.files[method].read_bytes(), records, by)
    dirty = sum(bool(record.provenance.get("dirty")) for record in records)
    if not places.as_json:
        tasks = ", ".join(sorted({record.task for record in records}))
        size = path.stat().st_size
        print(
            f"written: {path} (by {by}; {len(records)} runs on {tasks}; {methods.files[method].name}; {size:,} bytes)"
        )
        if dirty:
            print(f"{dirty} runs were made from code with uncommitted changes, which `audit` will say")
    return 0, {"file": str(path), "by": by, "runs": len(records), "digest": made.digest, "dirty": dirty}

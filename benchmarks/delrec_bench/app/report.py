"""`report`: the page of a study, from the records."""

from argparse import Namespace

from delrec_bench.app.common import Answer, own_records, say, tables, tracked
from delrec_bench.app.pages import declaration
from delrec_bench.config import resolve
from delrec_bench.report.content import build
from delrec_bench.report.writing import out_folder, publish, write_page
from delrec_bench.studies.expansion import expand
from delrec_bench.studies.membership import memberships
from delrec_bench.workspace import find_workspace


def report(arguments: Namespace) -> Answer:
    """Write out/<page>/ from the records, or publish it.

    Raises:
        BenchError: The study is wrong, or the page may not be published.
    """
    workspace = find_workspace(arguments.root, arguments.runs)
    methods, tasks = tables(arguments)
    study = expand(arguments.study or "leaderboard", arguments.profile or "quick", methods, tasks)
    records = tracked(workspace) if arguments.source == "mlflow" else own_records(workspace)
    keys = [resolve(request, methods, tasks, workspace).key for request in study.requests]
    if study.search is not None:  # its runs are those that its search chose
        known = memberships(workspace)
        chosen = list(known[study.name].search) if study.name in known else []
        by_key = {r.key: r for r in records}
        pairs = {(q.method, q.task, q.repetition): i for i, q in enumerate(study.requests)}
        for key in chosen:
            record = by_key.get(key)
            place = None if record is None else pairs.get((record.method, record.task, record.repetition))
            if place is not None:
                keys[place] = key
    declared = declaration(study, keys, methods)
    if arguments.publish:
        paths = publish(workspace, declared, records, source=arguments.source, allow_mixed=arguments.allow_mixed)
    else:
        paths = write_page(out_folder(workspace, declared), build(declared, records, arguments.source))
    if not arguments.json:
        say("\n".join(str(path) for path in paths))
    return 0, {"page": declared.page, "files": [str(path) for path in paths]}

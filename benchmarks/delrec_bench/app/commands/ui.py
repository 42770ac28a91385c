"""`ui`: MLflow's own pages, of this workspace's store, on this computer."""

from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

PANEL = "See"
EXAMPLES = (("ui", "MLflow on http://127.0.0.1:5000, until Ctrl-C"),)


def command(
    places: Places,
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="Where it answers on this computer.")] = 5000,
) -> Answer:
    """Open MLflow on the runs of this workspace; it answers this computer alone, until Ctrl-C.

    Where MLFLOW_TRACKING_URI names a server, its address is said: nothing is started.
    """
    from delrec_bench.environment import say
    from delrec_bench.records.tracking.serving import local_command, serve
    from delrec_bench.records.tracking.store import tracking_uri

    workspace = places.workspace
    words = local_command(workspace, port)
    if words is None:
        address = tracking_uri(workspace)
        if not places.as_json:
            print(f"MLFLOW_TRACKING_URI names {address}: open that; nothing was started")
        return 0, {"address": address, "started": False}
    address = f"http://127.0.0.1:{port}"
    say(f"MLflow: {address} (Ctrl-C ends it)\n{' '.join(words)}")
    code = serve(words, port)
    return code, {"address": address, "started": True}

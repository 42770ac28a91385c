"""MLflow's own pages of the store, for this computer alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from delrec_bench.errors import BenchError
from delrec_bench.records.tracking.store import database_of, tracking_uri
from delrec_bench.workspace import Workspace

LOCAL = "127.0.0.1"


def local_command(workspace: Workspace, port: int) -> list[str] | None:
    """The command line that shows the store on this computer; None where the store is a server of its own.

    Raises:
        BenchError: There is no store yet.
    """
    uri = tracking_uri(workspace)
    if uri.startswith(("http://", "https://", "databricks")):
        return None
    database = database_of(workspace)
    if database is not None and not database.is_file():
        raise BenchError(f"there is no MLflow store yet ({database}); delrec-bench sync makes it from the records")
    words = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", LOCAL, "--port", str(port)]
    return [*words, "--workers", "1"]


def serve(words: list[str], port: int) -> int:
    """Run it until it ends or Ctrl-C; the exit code.

    Raises:
        BenchError: The port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCAL, port))
        except OSError as error:
            raise BenchError(
                f"port {port} of this computer cannot be had ({error.strerror}); --port another"
            ) from error
    child = subprocess.Popen(words, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"})
    try:
        return child.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait(timeout=20)

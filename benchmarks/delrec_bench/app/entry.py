"""From words to an exit code: 0 done, 1 a run or check failed, 2 the request or its input is wrong, 130 interrupted."""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from delrec_bench.app.grammar import parser
from delrec_bench.environment import pin_threads
from delrec_bench.errors import BenchError, RunError

SCHEMA = 1


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if words is None else words)
    as_json = "--json" in words
    try:
        arguments = parser().parse_args(words)
        pin_threads(max(1, getattr(arguments, "threads", 1)))
        # Libraries print to stdout now and then; what is for a program stays alone there.
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            code, content = _dispatch(arguments)
        if as_json:
            print(json.dumps({"schema": SCHEMA, **content}, allow_nan=False))
        return code
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    except BenchError as error:
        return _ended(str(error), 2, as_json)
    except RunError as error:
        return _ended(str(error), 1, as_json)
    except KeyboardInterrupt:
        return _ended("interrupted; finished runs are kept", 130, as_json)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  (nobody reads any more; exit without a complaint)
        return 0
    except OSError as error:
        if error.errno in (13, 28, 30, 122):  # no permission, no space, read-only, over quota
            return _ended(
                f"{error.filename or 'a file'}: {error.strerror}; make room or choose another folder", 2, as_json
            )
        return _bug(error, as_json)
    except Exception as error:
        return _bug(error, as_json)


def _dispatch(arguments: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    from delrec_bench.app import (  # torch starts here, its threads set
        bench,
        compare,
        data,
        listing,
        report,
        reproduce,
        run,
        sync,
    )

    table: dict[str, Callable[[argparse.Namespace], tuple[int, dict[str, Any]]]] = {
        "list": listing.listing,
        "data": data.data,
        "run": run.single,
        "reproduce": reproduce.reproduce,
        "sync": sync.synchronise,
        "report": report.report,
        "compare": compare.compare,
        "bench": bench.bench,
    }
    return table[arguments.command](arguments)


def _ended(message: str, code: int, as_json: bool) -> int:
    print(f"delrec-bench: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps({"schema": SCHEMA, "error": message, "exit_code": code}))
    return code


def _bug(error: Exception, as_json: bool) -> int:
    handle, name = tempfile.mkstemp(prefix="delrec-bench-", suffix=".traceback.txt")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        traceback.print_exception(error, file=file)
    return _ended(f"this is a bug ({type(error).__name__}: {error}); its traceback is in {Path(name)}", 1, as_json)

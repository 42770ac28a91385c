"""The grammar of the command line."""

import argparse
import re
from typing import Any, NoReturn

from delrec_bench.errors import BenchError, nearest

EXAMPLES = """examples:
  delrec-bench list methods                         what can be run
  delrec-bench run lif digits                       one run: about a minute
  delrec-bench run delrec-axonal shd --data DIR     on files of yours
  delrec-bench run lif digits --set hidden=32,32 --set training.lr_weights=0.01
  delrec-bench reproduce --dry-run                  what the leaderboard would take
  delrec-bench reproduce                            make the leaderboard (about 15 minutes on two cores)
"""
RUN_EXAMPLES = """examples:
  delrec-bench run lif digits
  delrec-bench run delrec-axonal shd --data ~/corpora/shd --profile equi-parameter --repetition 2
  delrec-bench run dcls ps-mnist --data ~/mnist --limit 2000 --epochs 2 --set hidden=32,64,64
  delrec-bench run mine digits --methods ./my-methods --json

profiles: quick (minutes), embedded (hours), paper and paper-2025 (the published settings), equi-parameter.
settings: training.*, network.*, task.*, seeds.*, dtype; a wrong key is answered with the nearest right one.
A run that was done before is not done again: its record is shown.
"""
REPRODUCE_EXAMPLES = """examples:
  delrec-bench reproduce                            the quick leaderboard
  delrec-bench reproduce --dry-run --profile paper  runs, hours, memory and disk of the published settings
  delrec-bench reproduce --profile embedded --jobs 8
  delrec-bench reproduce --profile paper --only-tasks shd --data shd=DIR --repetitions 3
  delrec-bench reproduce --only-methods lif,rlif,delrec-axonal --only-tasks digits,yin-yang
  delrec-bench reproduce --study tuned --profile embedded --dry-run

--data takes a folder in the task's layout, as `run --data`; a row is then named after folder and content.
A study (studies/*.toml) chooses methods, tasks, repetitions and settings; the options narrow it, they add nothing.
The study `tuned` first searches: as many trials for every method, on validation data; its page is reports/tuned/.
"""


class _Parser(argparse.ArgumentParser):
    """argparse, with its complaints as the suite's own error and the nearest name for a wrong one."""

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            known = [name.strip(" '") for name in wrong.group(2).split(",")]
            raise BenchError(f"{self.prog}: '{wrong.group(1)}' is not known here; {nearest(wrong.group(1), known)}")
        extra = re.match(r"unrecognized arguments: (\S+)", message)
        if extra:
            word = extra.group(1).partition("=")[0]
            raise BenchError(f"{self.prog}: option '{word}' is not known; {nearest(word, _options(self))}")
        raise BenchError(f"{self.prog}: {message}; see {self.prog} --help")


def _options(parser: argparse.ArgumentParser) -> list[str]:
    found = []
    for action in parser._actions:
        found += [name for name in action.option_strings if name.startswith("--")]
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found += _options(inner)
    return sorted(set(found))


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    shape = argparse.RawDescriptionHelpFormatter
    common = _Parser(add_help=False)
    where = common.add_argument_group("where things are")
    where.add_argument("--root", help="the checkout (else DELREC_BENCH_ROOT, else the nearest folder with data.dvc)")
    where.add_argument("--runs", help="folder of finished runs (else ROOT/runs)")
    where.add_argument("--methods", action="append", metavar="DIR", help="more method files (DELREC_BENCH_METHODS)")
    where.add_argument("--tasks", action="append", metavar="DIR", help="more task files (DELREC_BENCH_TASKS)")
    where.add_argument("--metrics", action="append", metavar="DIR", help="more metric files (DELREC_BENCH_METRICS)")
    where.add_argument("--json", action="store_true", help="one JSON object on stdout, all else on stderr")
    top = _Parser(
        prog="delrec-bench",
        description="Benchmark and reproducibility suite for delay learning in spiking networks.",
        epilog=EXAMPLES,
        formatter_class=shape,
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str, epilog: str = "", into: Any = commands) -> Any:
        return into.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=epilog,
            parents=[common],
            formatter_class=shape,
            allow_abbrev=False,
        )

    listing = command("list", "show methods or tasks: what each is, where it comes from, what is learned")
    listing.add_argument("what", choices=("methods", "tasks"))
    data = commands.add_parser("data", help="look after dataset files", allow_abbrev=False)
    actions = data.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("status", "show where each task looks for its files, and what it found"),
        ("make", "write the generated and embedded corpora"),
        ("fetch", "download official files and check them"),
        ("verify", "check files against data.dvc"),
    ):
        action = command(name, text, into=actions)
        action.add_argument("names", nargs="*", metavar="TASK", help="else all")
        if name == "make":
            action.add_argument("--again", action="store_true", help="write files that are there as well")
        if name == "fetch":
            action.add_argument("--url", help="another server's folder in place of the published addresses")
    _run_options(command("run", "do one run, from its configuration to a record", RUN_EXAMPLES))
    reproduce = command("reproduce", "make a leaderboard: every run of a study, latency, report", REPRODUCE_EXAMPLES)
    reproduce.add_argument("--study", default="leaderboard", help="leaderboard, tuned, or a file of studies/")
    reproduce.add_argument("--profile", default="quick", help="one of the study's: quick, embedded, paper (quick)")
    reproduce.add_argument("--only-methods", type=_names, metavar="A,B", help="only these methods of the study")
    reproduce.add_argument("--only-tasks", type=_names, metavar="A,B", help="only these tasks of the study")
    reproduce.add_argument("--repetitions", type=int, metavar="N", help="runs of each method and task (the study's)")
    reproduce.add_argument("--data", action="append", default=[], metavar="TASK=DIR", help="your own files for a task")
    reproduce.add_argument("--jobs", type=int, help="worker processes of one thread each (all cores)")
    reproduce.add_argument("--dry-run", action="store_true", help="only say what it would take")
    reproduce.add_argument("--no-latency", action="store_true", help="leave latency out")
    command("sync", "bring MLflow's database up to date with the records")
    report = command("report", "write out/PAGE/ from the records; with --publish reports/PAGE/ and README's block")
    report.add_argument("--profile", help="one of the study's (quick)")
    report.add_argument("--study", help="whose page (leaderboard)")
    report.add_argument("--source", choices=("mlflow", "records"), default="records", help="what to read (records)")
    report.add_argument("--publish", action="store_true", help="write reports/PAGE/ and README, from a clean tree")
    report.add_argument("--allow-mixed", action="store_true", help="publish records of several revisions, and say so")
    compare = command("compare", "two methods of one page, or two pages, folders or files of records, row by row")
    compare.add_argument("a", metavar="A", help="a method; or a page, a folder or a file of records")
    compare.add_argument("b", metavar="B", help="what A is compared with")
    compare.add_argument("--of", metavar="PAGE", help="whose records the methods are compared by (this workspace's)")
    bench = command("bench", "measure latency of methods on the embedded tasks' shapes")
    bench.add_argument("--seconds", type=float, default=90.0, help="time for everything (90)")
    bench.add_argument("--profile", default="quick", help="whose networks and shapes (quick)")
    bench.add_argument("--threads", type=int, default=1, metavar="N", help="threads of torch and numba (1)")
    bench.add_argument("--all", action="store_true", help="every method, not only the quick ones")
    return top


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _run_options(run: argparse.ArgumentParser) -> None:
    run.add_argument("method", help="see: delrec-bench list methods")
    run.add_argument("task", help="see: delrec-bench list tasks")
    run.add_argument("--repetition", type=int, default=0, metavar="R", help="0, 1, ...: the seeds (0)")
    run.add_argument("--profile", default="quick", metavar="P", help="preset of settings (quick)")
    run.add_argument("--epochs", type=int, metavar="N", help="passes over the training set")
    run.add_argument("--limit", type=int, metavar="N", help="training samples at most")
    run.add_argument("--data", metavar="DIR", help="your own files in the task's layout")
    run.add_argument("--device", default="cpu", metavar="cpu|cuda|auto", help="where the network is (cpu)")
    run.add_argument("--engine", default="auto", metavar="NAME", help="engine of the scan through time (auto)")
    run.add_argument("--threads", type=int, default=1, metavar="N", help="threads of torch and numba (1)")
    run.add_argument("--trial", action="store_true", help="a search's trial: own seeds, validation score, no test")
    run.add_argument("--set", action="append", default=[], metavar="key=value", dest="settings", help="any setting")

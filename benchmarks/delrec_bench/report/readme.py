"""README's part of the board: ten rows between two markers."""

from pathlib import Path

from delrec_bench.errors import BenchError
from delrec_bench.report import words
from delrec_bench.report.board import OF_THE_SUITE, README_ROWS, Board
from delrec_bench.workspace import write_atomic

START, END = "<!-- board:start -->", "<!-- board:end -->"


def board_part(board: Board) -> str:
    """The rows, and whose data each column is of."""
    there = [group for group in board.groups if group.label in group.head]
    own = [group.title for group in there if group.brief.startswith(OF_THE_SUITE)]
    data = [f"{group.title}: {group.brief}." for group in there if group.title not in own]
    data += [f"{words.listed(own)}: {OF_THE_SUITE}."] if own else []
    return f"{board.short(README_ROWS).markdown()}\n{' '.join(data)}\n"


def write_board_part(readme: Path, board: Board) -> bool:
    """Put the board's part between the markers of README; whether that changed it.

    Raises:
        BenchError: A marker is missing.
    """
    text = readme.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise BenchError(f"{readme} has no {START} followed by {END}; the leaderboard's rows go between them")
    made = f"{before}{START}\n\n{board_part(board)}\n{END}{after}"
    if made != text:
        write_atomic(readme, made)
    return made != text

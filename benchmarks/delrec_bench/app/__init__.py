"""The command line, `delrec-bench`. It joins the rooms, and no room knows of it."""

from delrec_bench.app.command_line import main

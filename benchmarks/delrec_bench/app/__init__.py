"""The command line, `delrec-bench`, a file a command. It joins the rooms, and no room knows of it."""

from delrec_bench.app.entry import main

"""The commands, a file each, found by folder (`delrec_bench.app.command_line` says what a file declares)."""

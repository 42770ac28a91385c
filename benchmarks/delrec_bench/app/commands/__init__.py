"""The commands, a file each, found by folder (`delrec_bench.app.tree` says what a file declares)."""

"""The tasks, one file each, found by folder (see `delrec_bench.tasks.base.find_tasks`)."""

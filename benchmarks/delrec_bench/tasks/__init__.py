"""The tasks, one file each, found by folder (see `delrec_bench.tasks.task.find_tasks`)."""

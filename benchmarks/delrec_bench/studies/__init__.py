"""The studies: TOML files that say which methods run on which tasks (see `delrec_bench.grid`)."""

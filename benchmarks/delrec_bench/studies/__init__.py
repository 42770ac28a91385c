"""Studies: TOML files that say which methods run on which tasks (see `study`), their search, cost and work."""

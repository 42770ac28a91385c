"""The methods, one file per family, found by folder (see `delrec_bench.methods.method.find_methods`)."""

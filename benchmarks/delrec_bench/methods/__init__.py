"""The methods, one file a family, found by folder (see `delrec_bench.methods.method.find_methods`)."""

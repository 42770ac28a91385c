"""The methods, one file a family, found by folder (see `delrec_bench.methods.base.find_methods`)."""

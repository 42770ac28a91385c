"""Dataset files: what they are, how they are read, binned and split."""

"""Benchmark and reproducibility suite for delay learning in spiking networks."""

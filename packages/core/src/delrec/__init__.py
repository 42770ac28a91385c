"""Learned delays for recurrent and feedforward spiking layers."""

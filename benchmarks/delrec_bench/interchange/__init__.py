"""What comes from elsewhere and what goes there: checkpoints, networks as files, NIR, model cards, submissions."""

from delrec_bench.interchange.models import Model, find_model, load_network

__all__ = ["Model", "find_model", "load_network"]

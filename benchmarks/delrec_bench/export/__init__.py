"""What comes from elsewhere and what goes there: published checkpoints, networks as files, NIR."""

from delrec_bench.export.models import Model, find_model, load_network

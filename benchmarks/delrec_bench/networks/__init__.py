"""Networks that methods are made of: stacks of `delrec`'s layers, built from a frozen configuration."""

from delrec_bench.networks.configuration import NetworkConfig
from delrec_bench.networks.network import Network

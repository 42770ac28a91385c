"""Configuration: a `Request` comes in by `resolve` and leaves as a `Resolved`, which decides everything of a run."""

from delrec_bench.config.resolving import Resolved, bound, resolve
from delrec_bench.config.searched import Search
from delrec_bench.config.settings import defaults, full_key, full_keys, preset, profiles, read_toml, settle
from delrec_bench.config.tree import AXES, Device, Evaluation, Request, Seeds, Spot, TrainingConfig, parse_setting

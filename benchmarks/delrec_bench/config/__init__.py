"""Configuration: a `Request` comes in by `resolve` and leaves as a `Resolved`, which decides everything of a run."""

from delrec_bench.config.resolving import Resolved, bound, resolve
from delrec_bench.config.searched import Search
from delrec_bench.config.settings import FORECAST, Settled, defaults, full_key, full_keys, settle
from delrec_bench.config.toml import parse_setting, preset, profiles, read_toml, toml_value
from delrec_bench.config.tree import AXES, LESIONS, Device, Evaluation, Request, Seeds, Spot, TrainingConfig, is_set

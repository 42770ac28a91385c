"""What the methods of the suite share: networks built from settings, and published settings.

`published/*.toml` hold the published settings, each number beside its source: a file names its `source` and holds a
list of `[[preset]]` tables: `methods`; `tasks` (names or families) and `profiles`, where they are not all; and settings
below `task`, `training` and `network`. Of two tables that set the same for the same task and profile the later one
holds. "all" stands for every layer. What a paper and its code leave open is the profile's.
"""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

from delrec_bench.networks import Network, NetworkConfig
from delrec_bench.schema import dotted

RECURRENT = ("recurrent_layers", "recurrent_dropout", "self_connections")
DELAYED = ("learn_spread", "sigma", "sigma_decay", "delay_init", "delay_std", "delay_low", "delay_high", "clamp_delays")
FEEDFORWARD = (
    *("feedforward_form", "feedforward_layers", "feedforward_readout", "learn_positions", "window", "kernel_count"),
    *("right_padding", "feedforward_spread", "anneal_spread", "position_weight_init"),
)
_GIVEN = ("inputs", "classes", "engine", "max_delay")  # by data, request and hardware, not by a setting

DELREC = "DelRec, https://arxiv.org/abs/2509.24852"


def settings_of(**fixed: Any) -> dict[str, Any]:
    """The settings of a stack whose method has `fixed` fields: those of `NetworkConfig` that still mean something."""
    left_out = {*fixed, *_GIVEN}
    recurrent = fixed.get("recurrent", "none")
    if recurrent == "none":
        left_out |= {*RECURRENT}
    if recurrent in ("none", "plain"):
        left_out |= {*DELAYED, "learn_delays"}
    if fixed.get("feedforward", "none") == "none":
        left_out |= {*FEEDFORWARD, "feedforward"}
        if recurrent in ("none", "plain"):
            left_out |= {"rounding"}
    return defaults_of(NetworkConfig, left_out)


def defaults_of(config: type[Any], left_out: Collection[str]) -> dict[str, Any]:
    """The fields of a configuration that have a default, without those left out."""
    known = {item.name: item.default for item in fields(config) if item.default is not MISSING}
    return {name: value for name, value in known.items() if name not in left_out}


def builder(recurrence: Any = None, own: str = "", **fixed: Any) -> Any:
    """The `build` of a method: a `Network` of its settings with `fixed` fields; `own` is a setting of `recurrence`."""

    def build(settings: Mapping[str, Any], inputs: int, classes: int) -> Network:
        rest = {**settings, **fixed}
        layer = {} if recurrence is None else {"recurrence": partial(recurrence, **{own: rest.pop(own)})}
        return Network(NetworkConfig(inputs=inputs, classes=classes, **rest), **layer)

    return build


Presets = dict[tuple[str, str], dict[str, Any]]

FOLDER = Path(__file__).parent / "published"
EQUAL: Presets = {("speech", "equi-parameter"): {"budget": 10_290}}
"""For a method without a published width at DelRec's equi-parameter setting: at most as many parameters as DelRec."""


@cache
def _tables() -> list[dict[str, Any]]:
    files = (tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.toml")))
    return [table for file in files for table in file["preset"]]


def published(method: str) -> Presets:
    """Return the published settings of a method by (task or family, profile); "*" stands for any."""
    found: Presets = {}
    for table in _tables():
        if method in table["methods"]:
            given = dotted({group: table.get(group, {}) for group in ("task", "training", "network")})
            settings = {key: None if value == "all" else value for key, value in given.items()}
            for where in product(table.get("tasks", ["*"]), table.get("profiles", ["*"])):
                found.setdefault(where, {}).update(settings)
    return found

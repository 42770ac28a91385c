"""Adaptive neurons, as published and with recurrent or feedforward delays.

Without delays each is its paper's network: feedforward (adLIF, cAdLIF, SiLIF, C-SiLIF) or with ordinary recurrent
connections (RadLIF, SE-adLIF, ALIF). With delays each takes the place of the LIF in DelRec's or DCLS's network. cAdLIF,
SiLIF and C-SiLIF have no recurrent network in their papers: fixed recurrent delays are compared with the feedforward
one, which tells what recurrence and delays are worth together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from delrec.neurons import Neuron
from delrec_baselines import ALIF, AdLIF, CAdLIF, CSiLIF, LearnedLeak, SEAdLIF, SiLIF

from delrec_bench.methods.method import Method
from delrec_bench.methods.stack import DELREC, EQUAL, published, settings_of
from delrec_bench.networks import Network, NetworkConfig

# Fields of NetworkConfig about the LIF, which these networks do not have.
_LIF = ("tau", "learn_tau", "threshold", "reset", "v_reset", "detach_reset", "surrogate", "surrogate_parameters")
_LEAK = {"fixed": None, "decay": partial(LearnedLeak, "decay"), "tau": partial(LearnedLeak, "tau")}

_BOARD = ("radlif", "se-adlif", "silif", "c-silif", "delrec-axonal-silif", "delrec-axonal-silif-fixed")

# Behind a factor 1 - alpha and a boxcar surrogate a layer that starts silent has no gradient; the papers' batch norm is
# what keeps it from that.
_NORM = {"network.batch_norm": True, "network.norm_momentum": 0.05}

NONE = {"recurrent": "none", "feedforward": "none"}
PLAIN = {"recurrent": "plain", "feedforward": "none"}
AXONAL = {"recurrent": "axonal", "feedforward": "none", "learn_delays": True}
FIXED = {**AXONAL, "learn_delays": False, "sigma": 0.0, "learn_spread": False}
DCLS = {"recurrent": "none", "feedforward": "v1", "learn_positions": True}
DCLS_FIXED = {**DCLS, "learn_positions": False}


@dataclass(frozen=True)
class Family:
    """A neuron: its title, class, source, settings with their defaults, and what its networks need."""

    title: str
    neuron: Callable[..., Neuron]
    source: str
    what: str
    options: Mapping[str, Any] = field(default_factory=lambda: {"start": "zeros"})
    plain: str = ""  # name of the method without delays, if not the family's
    norm: bool = False  # whether it needs its paper's batch norm, whatever the profile


FEEDFORWARD = ("adlif", "cadlif", "silif", "c-silif")  # families whose own network without recurrence is a method
HAMMOUAMRI = "Hammouamri et al. 2024, https://arxiv.org/abs/2306.17670"
SPARCH = "Bittar & Garner 2022, https://doi.org/10.3389/fnins.2022.865897, and its code idiap/sparch"
SILIF = "Fabre et al. 2025, https://arxiv.org/abs/2506.06374, and its code Maxtimer97/SSM-inspired-LIF"

FAMILIES = {
    "adlif": Family("adLIF", AdLIF, SPARCH, "adaptive LIF neurons (adLIF)", plain="radlif", norm=True),
    "cadlif": Family(
        "cAdLIF",
        CAdLIF,
        f"Deckers et al. 2024, https://arxiv.org/abs/2311.16112; constants of {SILIF}",
        "constrained adLIF neurons",
        norm=True,
    ),
    "se-adlif": Family(
        "SE-adLIF",
        SEAdLIF,
        "Baronig et al. 2025, https://doi.org/10.1038/s41467-025-60878-z, and its code IGITUGraz/SE-adlif",
        "adaptive LIF neurons in symplectic Euler steps (SE-adLIF)",
        {"discretisation": "se", "tau_u": [5.0, 25.0], "tau_w": [60.0, 300.0], "q": 120.0, "start": "zeros"},
    ),
    "alif": Family(
        "ALIF",
        ALIF,
        "Yin et al. 2021, https://arxiv.org/abs/2103.12593, and its SHD script",
        "LIF neurons with an adaptive threshold (ALIF)",
        {"base": 0.01, "scale": 1.8, "start": "zeros"},
    ),
    "silif": Family(
        "SiLIF",
        SiLIF,
        SILIF,
        "SiLIF neurons (adLIF with a learned step)",
        {"time_step": 0.004, "start": "zeros"},
        norm=True,
    ),
    "c-silif": Family(
        "C-SiLIF",
        CSiLIF,
        SILIF,
        "complex SiLIF neurons (oscillators)",
        {"step_min": 0.01, "step_max": 0.5, "start": "zeros"},
        norm=True,
    ),
}


def build(family: Family, fixed: Mapping[str, Any], settings: Mapping[str, Any], inputs: int, classes: int) -> Network:
    """Build the network of a family with `fixed` fields of its configuration."""
    rest = dict(settings)
    leak = rest.pop("leak")
    if leak not in _LEAK:
        raise ValueError(f"leak = {leak!r} is unknown; choose one of {', '.join(_LEAK)}")
    options = {name: rest.pop(name) for name in family.options}
    if "discretisation" in options:
        options["method"] = options.pop("discretisation")
    config = NetworkConfig(inputs=inputs, classes=classes, **{**rest, **fixed})
    return Network(config, partial(family.neuron, **options), leak=_LEAK[leak])


def _method(
    name: str, family: str, title: str, how: str, learned: str, control: str, source: str, **fixed: Any
) -> Method:
    of = FAMILIES[family]
    delays = fixed["recurrent"] == "axonal" or fixed["feedforward"] != "none"
    settings = {k: v for k, v in settings_of(**fixed).items() if k not in _LIF}
    return Method(
        name=name,
        title=title,
        family="adaptive neurons with delays" if delays else "adaptive neurons",
        summary=f"{of.what}{how}",
        source=f"{of.source}{source}",
        learned=f"weights, neuron parameters{learned}",
        board=name in _BOARD,
        control=control,
        searched_with=name.removesuffix("-fixed"),
        settings={**settings, "leak": "fixed", **of.options},
        build=partial(build, of, fixed),
        presets={("*", "*"): _NORM if of.norm else {}, **EQUAL, **published(name)},
    )


def _own_network(name: str, family: str, control: str, **fixed: Any) -> Method:
    recurrent = "ordinary recurrent connections" if fixed["recurrent"] == "plain" else "feedforward"
    title = "RadLIF" if name == "radlif" else FAMILIES[family].title
    return _method(name, family, title, f", {recurrent}, no delays", "", control, "", **fixed)


def _pair(
    family: str, stem: str, suite: str, how: str, kind: str, control: str, source: str, *forms: Any
) -> list[Method]:
    """The same delays learned, and random and fixed."""
    name, title = f"{stem}-{family}", f"{FAMILIES[family].title} + {suite}"
    learned, fixed = forms
    drawn = f"{name}-fixed", family, f"{title}, fixed random delays", f" {how}, random and fixed", "", control, source
    return [
        _method(name, family, f"{title}, learned delays", f" {how}, learned", f", {kind}", drawn[0], source, **learned),
        _method(*drawn, **fixed),
    ]


def _with_delays(family: str) -> list[Method]:
    plain = FAMILIES[family].plain or family
    # Where the paper's network is recurrent, the LIF behind the same delays differs by the neuron alone.
    before = family if family in FEEDFORWARD else "dcls-fixed"
    recurrent = "with recurrent delays, one per sending neuron"
    feedforward = "with feedforward delays, one per connection"
    return [
        *_pair(family, "delrec-axonal", "DelRec", recurrent, "recurrent delays", plain, f"; {DELREC}", AXONAL, FIXED),
        *_pair(family, "dcls", "DCLS", feedforward, "feedforward delays", before, f"; {HAMMOUAMRI}", DCLS, DCLS_FIXED),
    ]


METHODS = [
    _own_network("adlif", "adlif", "lif", **NONE),
    _own_network("radlif", "adlif", "adlif", self_connections=False, **PLAIN),
    _own_network("cadlif", "cadlif", "lif", **NONE),
    _own_network("se-adlif", "se-adlif", "rlif", **PLAIN),
    _own_network("alif", "alif", "rlif", **PLAIN),
    _own_network("silif", "silif", "lif", **NONE),
    _own_network("c-silif", "c-silif", "lif", **NONE),
    *(method for family in FAMILIES for method in _with_delays(family)),
]

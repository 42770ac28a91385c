"""Feedforward delays as dilated convolutions with learnable spacings (DCLS), alone and beside recurrent delays."""

from dataclasses import replace
from typing import Any

from delrec_bench.methods.delrec import LEARNED
from delrec_bench.methods.method import Method
from delrec_bench.methods.stack import DELREC, builder, published, settings_of

DCLS = "Hammouamri et al. 2024, https://arxiv.org/abs/2306.17670"
RANDOM = f"{DCLS} (its 'snn_delays_lr0')"


def _method(name: str, title: str, summary: str, source: str, control: str, **fixed: Any) -> Method:
    fixed = {"recurrent": "none", "feedforward": "v1", "learn_positions": not name.endswith("-fixed"), **fixed}
    return Method(
        name=name,
        title=title,
        family="feedforward delays",
        summary=summary,
        source=source,
        learned="weights, feedforward delays" if fixed["learn_positions"] else "weights",
        board=name in ("dcls", "dcls-fixed", "delrec-dcls"),
        control=control,
        searched_with=name.removesuffix("-fixed"),
        settings=settings_of(**fixed),
        build=builder(**fixed),
        presets=published(name),
    )


def _form(form: str, what: str) -> list[Method]:
    """Feedforward delays with fewer parameters, learned, and random and fixed."""
    delays = f"feedforward delays, one per {what} neuron"
    return [
        _method(
            f"dcls-{form}",
            f"DCLS, one learned delay per {what} neuron",
            f"{delays}, learned (DCLS v1)",
            f"{DCLS}; one per neuron as in DelGrad, https://doi.org/10.1038/s41467-025-63120-y",
            f"dcls-{form}-fixed",
            feedforward_form=form,
        ),
        _method(
            f"dcls-{form}-fixed",
            f"DCLS, one fixed random delay per {what} neuron",
            f"{delays}, random and fixed",
            f"{RANDOM}; one per neuron as in DelGrad",
            "lif",
            feedforward_form=form,
        ),
    ]


METHODS = [
    _method(
        "dcls",
        "DCLS, learned feedforward delays",
        "feedforward delays, one per connection, learned (DCLS v1, interpolated between two steps)",
        f"{DCLS}; settings of {DELREC}",
        "dcls-fixed",
    ),
    _method(
        "dcls-fixed",
        "DCLS, fixed random feedforward delays",
        "feedforward delays, one per connection, random and fixed",
        RANDOM,
        "lif",
    ),
    _method(
        "dcls-2k",
        "DCLS, two learned delays per connection",
        "feedforward delays, two per connection (kernel count 2), learned",
        f"{DCLS} (its '2KC')",
        "dcls",
        kernel_count=2,
    ),
    *_form("axonal", "sending"),
    *_form("dendritic", "receiving"),
    _method(
        "dcls-gauss",
        "DCLS, Gaussian kernel",
        "feedforward delays, one per connection, learned with a Gaussian that narrows during training",
        DCLS,
        "dcls-fixed",
        feedforward="gauss",
    ),
    replace(
        _method(
            "delrec-dcls",
            "DelRec + DCLS, learned delays",
            "recurrent delays, one per sending neuron, and feedforward delays, both learned",
            f"{DELREC} (its 'rec + ff')",
            "delrec-axonal",
            recurrent="axonal",
            **LEARNED,
        ),
        family="recurrent delays",
        learned="weights, recurrent and feedforward delays",
    ),
]

"""Runs under conditions of evaluation in a study: each needs the run that is trained, which is done first, once."""

from collections.abc import Sequence

from delrec_bench.config import Request


def with_trained(requests: Sequence[Request]) -> list[Request]:
    """Requests, and the trained runs that they are derived from where these are not among them, each once.

    What is trained comes before what is derived, both in the order in which they were asked for.
    """
    plain = {request.command(): request for request in requests if not request.derived}
    for request in requests:
        if request.derived:
            plain.setdefault(request.trained().command(), request.trained())
    return [*plain.values(), *(request for request in requests if request.derived)]


def networks(requests: Sequence[Request]) -> list[Request]:
    """What requests train, each once, without any condition of evaluation: what latency is measured of."""
    return list({request.trained().command(): request.trained() for request in requests}.values())

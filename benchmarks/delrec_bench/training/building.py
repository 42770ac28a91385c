"""Building the network of a run, and how a CUDA device multiplies for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from delrec_bench.config import Resolved
from delrec_bench.errors import RunError
from delrec_bench.methods.method import broken, refused
from delrec_bench.training.resuming import seed_everything


def build(resolved: Resolved) -> Any:
    """Return the network of a run, drawn from the seed of its initialisation, on its device and in its dtype.

    Raises:
        BenchError: The network refuses a setting.
        RunError: The method's `build` fails.
    """
    data = resolved.data
    assert resolved.method.build is not None
    seed_everything(resolved.seeds.stream("initialisation"))
    try:
        model = resolved.method.build({**resolved.network, "engine": resolved.engine}, data.channels, data.classes)
    except ValueError as error:
        raise refused(resolved.method.name, error) from error
    except (Exception, SystemExit) as error:
        raise RunError(broken(resolved.method.name, error)) from error
    dtype = torch.float64 if resolved.dtype == "float64" else torch.float32
    return model.to(device=resolved.device, dtype=dtype)


@contextmanager
def multiplying(resolved: Resolved) -> Iterator[None]:
    """Multiply float32 on a CUDA device as a run says, by torch and by core's engines; on the CPU nothing is set."""
    if resolved.device != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.deterministic
    torch.set_float32_matmul_precision({"ieee": "highest", "tf32": "high", "bfloat16": "medium"}[resolved.products])
    cudnn.deterministic = True  # else a convolution's gradient may differ from run to run
    cudnn.allow_tf32 = resolved.products != "ieee"  # torch's own default takes TF32 for convolutions
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32, cudnn.deterministic = before[1:]

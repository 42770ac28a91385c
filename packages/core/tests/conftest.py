"""Without a card, kernels of the triton engine run in Triton's interpreter, which is chosen when triton is imported."""

import os
import warnings

import pytest
import torch

torch.backends.cudnn.allow_tf32 = False  # by default convolutions on a card are not float32's
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture
def no_fallback():
    """Turn the warning that the reference engine runs instead into an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield

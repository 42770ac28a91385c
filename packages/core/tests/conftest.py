"""Without a card, kernels of the triton engine run in Triton's interpreter, which is chosen when triton is imported."""

import os

import torch

torch.backends.cudnn.allow_tf32 = False  # by default convolutions on a card are not float32's
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

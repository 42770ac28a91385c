"""Without a card, kernels of the triton engine run in Triton's interpreter, which is chosen when triton is imported."""

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

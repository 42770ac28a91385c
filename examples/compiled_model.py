"""Compile a model with torch.compile, without graph breaks: outputs and gradients stay the same."""

import torch
from delrec import RecurrentDelays, SpikeLinear
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 32), RecurrentDelays(32, max_delay=10), SpikeLinear(32, 4))
compiled = torch.compile(model, fullgraph=True, backend="aot_eager")  # "inductor" where there is a compiler
x = 3 * torch.rand(8, 4, 16)
gradients = []
for run in (model, compiled):
    model.zero_grad()
    out = run(x)
    (out * torch.arange(4)).sum().backward()
    gradients.append([out.detach(), *(p.grad.clone() for p in model.parameters())])
difference = max(float((a - b).abs().max()) for a, b in zip(*gradients, strict=True))
print(f"largest difference of outputs and gradients: {difference:.2g}")

"""Streaming: the state is handed on from call to call, or carried by `Stateful`; both equal one long call."""

import torch
from delrec import FeedforwardDelays, RecurrentDelays, SpikeLinear, Stateful
from torch import nn

torch.manual_seed(0)
layer = RecurrentDelays(32, max_delay=20).eval()
x = 2 * torch.rand(60, 4, 32)
with torch.no_grad():
    whole, state, parts = layer(x), None, []
    for part in x.split(1):  # a step at a time
        spikes, state, _ = layer(part, state, return_state=True)
        parts.append(spikes)
explicit = torch.equal(torch.cat(parts), whole)

model = nn.Sequential(FeedforwardDelays(32, 64, window=10), RecurrentDelays(64, max_delay=20), SpikeLinear(64, 5))
stream = Stateful(model)
with torch.no_grad():
    expected = model(x)
    carried = torch.allclose(torch.cat([stream(part) for part in x.split(7)]), expected, atol=1e-5)
    stream.reset()  # the next recording
print(f"equal to one call: state handed on {explicit}, carried {carried}")

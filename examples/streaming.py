"""Process a sequence in chunks: pass the state yourself, or let `Stateful` keep it. Both give the same as one call."""

import torch
from delrec import FeedforwardDelays, RecurrentDelays, SpikeLinear, Stateful
from torch import nn

torch.manual_seed(0)
layer = RecurrentDelays(32, max_delay=20).eval()
x = 2 * torch.rand(60, 4, 32)
with torch.no_grad():
    whole, state, parts = layer(x), None, []
    for part in x.split(1):  # one step at a time
        spikes, state, _ = layer(part, state, return_state=True)
        parts.append(spikes)
explicit = torch.equal(torch.cat(parts), whole)

model = nn.Sequential(FeedforwardDelays(32, 64, window=10), RecurrentDelays(64, max_delay=20), SpikeLinear(64, 5))
stream = Stateful(model)
with torch.no_grad():
    expected = model(x)
    carried = torch.allclose(torch.cat([stream(part) for part in x.split(7)]), expected, atol=1e-5)
    stream.reset()  # the next recording
print(f"same as one call: state passed on {explicit}, kept by Stateful {carried}")

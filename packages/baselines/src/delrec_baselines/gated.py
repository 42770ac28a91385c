"""GRU and LSTM, non-spiking references with the same number of parameters."""

from __future__ import annotations

from typing import Any, Literal

import torch
from delrec import Trainable
from delrec.checks import check_input, choose, number, whole
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["GatedNetwork"]


class GatedNetwork(Trainable):
    """A stack of torch's GRU or LSTM layers and a linear readout; it has no delays and no spikes.

    inputs, classes: widths of input and output. hidden: neurons of each layer. cell: "gru" or "lstm". dropout: on the
    outputs of each hidden layer, with a new mask every step. aggregate: how outputs (T, B, classes) become scores:
    "mean", "last" or "sum". loss: "cross-entropy" or "mse". Sources: Cho et al. 2014 (arXiv 1406.1078), Hochreiter &
    Schmidhuber 1997 (doi 10.1162/neco.1997.9.8.1735), in torch's form, with two biases per gate.
    Raises ValueError for a wrong setting.
    """

    def __init__(
        self,
        inputs: int,
        classes: int,
        hidden: tuple[int, ...] = (128,),
        cell: Literal["gru", "lstm"] = "gru",
        dropout: float = 0.0,
        aggregate: Literal["mean", "last", "sum"] = "mean",
        loss: Literal["cross-entropy", "mse"] = "cross-entropy",
    ) -> None:
        super().__init__()
        if isinstance(hidden, int):
            raise ValueError(f"hidden = {hidden}: give the width of each layer, such as ({hidden},)")
        hidden = tuple(hidden)
        for name, width in (("inputs", inputs), ("classes", classes), *(("hidden", n) for n in hidden or (0,))):
            whole(name, width)
        self.inputs, self.hidden, self.cell = inputs, hidden, choose("cell", cell, "gru", "lstm")
        self.dropout = number("dropout", dropout, at_least=0, below=1)
        self.aggregate = choose("aggregate", aggregate, "mean", "last", "sum")
        self.loss_name = choose("loss", loss, "cross-entropy", "mse")
        make = nn.GRU if cell == "gru" else nn.LSTM
        widths = (inputs, *hidden)
        self.layers = nn.ModuleList(make(widths[i], n) for i, n in enumerate(hidden))
        self.readout = nn.Linear(hidden[-1], classes)
        self._counts: list[float] | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs (T, B, classes) of a sequence (T, B, inputs). Raises ValueError for a wrong shape."""
        check_input("inputs", inputs, "T, B", self.inputs)
        if self._counts is not None:
            found = (float(torch.count_nonzero(inputs)), inputs.shape[0] * inputs.shape[1], inputs.shape[1])
            self._counts = [a + b for a, b in zip(self._counts, found, strict=True)]
        values = inputs
        for layer in self.layers:
            values, _ = layer(values)
            values = F.dropout(values, self.dropout, self.training)
        output: Tensor = self.readout(values)
        return output

    def scores(self, outputs: Tensor) -> Tensor:
        """Reduce outputs (T, B, classes) to scores (B, classes)."""
        if self.aggregate == "last":
            return outputs[-1]
        return outputs.mean(0) if self.aggregate == "mean" else outputs.sum(0)

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """Return cross-entropy, or the mean squared error against targets of as many values."""
        if self.loss_name == "mse":
            return F.mse_loss(scores, target.to(scores.dtype).view_as(scores))
        return super().loss(scores, target)

    def start_recording(self) -> None:
        """Start counting operations of each forward pass."""
        self._counts = [0.0, 0.0, 0.0]

    def stop_recording(self) -> None:
        """Stop counting and discard the counts."""
        self._counts = None

    def activity(self) -> dict[str, Any]:
        """Return synaptic operations per sample: every weight at every step; zero inputs do not count as MACs."""
        if self._counts is None or self._counts[2] == 0:
            return {}
        events, steps, samples = self._counts
        gates = 3 if self.cell == "gru" else 4
        first = gates * self.hidden[0]  # synapses of one input
        weights = sum(p.numel() for p in self.parameters() if p.dim() == 2)
        macs = steps * (weights - first * self.inputs) + events * first
        operations = {"effective_acs": 0.0, "effective_macs": macs / samples, "dense": steps * weights / samples}
        return {"synaptic_operations": operations, "delay_buffer": 0}

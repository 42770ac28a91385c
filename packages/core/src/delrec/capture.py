"""A whole training step as one CUDA graph: a small network is then not bound by Python and by launches.

Written from PyTorch's notes "CUDA semantics: CUDA Graphs" (whole-network capture). It has not been run on a card yet:
`nox -s gpu` tests it there, and nowhere else can it be tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from delrec.layer import number

__all__ = ["CapturedStep"]

_WARM_UP = 3  # steps before capture: kernels are compiled and libraries choose theirs, which cannot be captured


class CapturedStep:
    """One training step, captured once and replayed: zero_grad, forward, loss, backward, optimizer.step().

        optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(1e-3, device="cuda"), capturable=True)
        step = CapturedStep(model, lambda y, target: cross_entropy(model.scores(y), target), optimizer, x, target)
        for x, target in batches:
            loss = step(x, target)  # (), overwritten by the next call

    model: a `Network` or any module on a CUDA device. loss: of (model(inputs), targets), a scalar. optimizer: Adam or
    AdamW, made with capturable=True. inputs, targets: an example; every batch has its shapes and dtypes. Capturing
    changes neither the model nor the optimizer's state nor any generator.

    A replay does what was done when it was captured: a rate that is to change must be a CUDA tensor (torch's schedulers
    fill it), recurrent delays need a `max_delay` (else the longest tap is read off them), sigma may fall but not rise
    (`SigmaSchedule` fills it), and NaN in a parameter raises no error. Call it in the mode, train or eval, of the
    capture. Raises ValueError off CUDA, for another optimizer, and for a batch or a setting that differs from what was
    captured; torch's RuntimeError where the model cannot be captured.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: Optimizer,
        inputs: Tensor,
        targets: Tensor,
    ) -> None:
        where = {str(part.device) for part in (inputs, targets, *model.parameters(), *model.buffers())}
        if len(where) > 1 or not inputs.is_cuda:
            raise ValueError(f"a CUDA graph holds a step on one CUDA device; model and example are on {sorted(where)}")
        if not isinstance(optimizer, Adam | AdamW) or not all(g["capturable"] for g in optimizer.param_groups):
            raise ValueError(
                f"optimizer is {type(optimizer).__name__}: give torch's Adam or AdamW, made with capturable=True"
            )
        if any(isinstance(g["lr"], Tensor) and not g["lr"].is_cuda for g in optimizer.param_groups):
            raise ValueError(
                "a rate is a tensor in main memory, whose number a replay would not read: put it on the card"
            )
        self.model, self.criterion, self.optimizer = model, loss, optimizer
        self.inputs, self.targets = inputs.detach().clone(), targets.detach().clone()
        self._settings = self._set_now()
        with torch.cuda.device(inputs.device):  # streams and graphs are the present device's
            self._capture()

    def _capture(self) -> None:
        self.graph = torch.cuda.CUDAGraph()
        present, side = torch.cuda.current_stream(), torch.cuda.Stream()
        with restored(self.model, self.optimizer), torch.random.fork_rng(devices=[self.inputs.device]):
            side.wait_stream(present)
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    self._step()
            present.wait_stream(side)
        self._sigmas = self._sigmas_now()  # read before the capture, in which layers find them known
        try:
            with torch.cuda.graph(self.graph):
                self.loss = self._step()
        except RuntimeError as error:
            error.add_note("a captured step may not wait for the device: set max_delay on recurrent layers")
            raise

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Train on one batch and return its loss, (), which the next call overwrites."""
        for name, given, captured in (("inputs", inputs, self.inputs), ("targets", targets, self.targets)):
            if given.shape != captured.shape or given.dtype != captured.dtype:
                raise ValueError(
                    f"{name} are {tuple(given.shape)}, {given.dtype}; the step was captured for "
                    f"{tuple(captured.shape)}, {captured.dtype}"
                )
        if changed := [name for name, value in self._set_now().items() if not _same(value, self._settings.get(name))]:
            raise ValueError(
                f"{', '.join(changed)} changed since the capture, and a replay would not know: "
                "capture anew, or give the rate as a CUDA tensor and fill it"
            )
        for sigma, most in zip(self._sigmas_now(), self._sigmas, strict=True):
            if sigma > most:
                raise ValueError(
                    f"sigma rose from {most:g} to {sigma:g}, and taps were captured for that: capture anew"
                )
        with torch.cuda.device(self.inputs.device):
            self.inputs.copy_(inputs, non_blocking=True)
            self.targets.copy_(targets, non_blocking=True)
            self.graph.replay()
        return self.loss

    def _step(self) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)  # gradients are then made, not added to, in every replay
        loss = self.criterion(self.model(self.inputs), self.targets)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _set_now(self) -> dict[str, Any]:
        """Return what is fixed by a capture, by name."""
        groups = enumerate(self.optimizer.param_groups)
        found = {f"{name} of group {n}": v for n, group in groups for name, v in group.items() if name != "params"}
        return found | {"training": self.model.training}

    def _sigmas_now(self) -> list[float]:
        """Return every layer's sigma; the device is waited for only where one was changed."""
        return [number(buffer) for name, buffer in self.model.named_buffers() if name.split(".")[-1] == "sigma"]


def _same(now: Any, captured: Any) -> bool:
    return now is captured if isinstance(now, Tensor) or isinstance(captured, Tensor) else bool(now == captured)


@contextmanager
def restored(model: nn.Module, optimizer: Optimizer) -> Iterator[None]:
    """Put parameters, buffers and Adam's state back in place afterwards, and drop gradients.

    State that was made meanwhile becomes 0, which is how Adam's begins.
    """
    held = [(part, part.detach().clone()) for part in (*model.parameters(), *model.buffers())]
    state = {p: {k: v.clone() for k, v in of.items()} for p, of in optimizer.state.items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for part, value in held:
                part.copy_(value)
            for p, of in optimizer.state.items():
                for name, value in of.items():
                    if p in state:
                        value.copy_(state[p][name])
                    else:
                        value.zero_()
        optimizer.zero_grad(set_to_none=True)

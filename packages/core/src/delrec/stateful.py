"""State carried from call to call, as a thin wrapper around layers whose state is explicit."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from delrec.engines import State
from delrec.feedforward import FeedforwardDelays
from delrec.spiking import SpikingLayer

__all__ = ["Stateful"]


class Stateful(nn.Module):
    """A layer, or any module that holds layers of this package, whose state goes on from call to call.

    module: what is called; it is left as it is, and alone it goes on starting from rest. detach: carry the state
    without its gradient (each call is then trained by itself); False carries the gradient on, through every call since
    `reset()`.

    A call equals the module's own, with each layer started where the last call left it. Batch, dtype and device must
    stay; another one raises ValueError. A copy starts from the same state, without its gradient, which leads to the
    original's parameters. The state is in no state_dict.

    Raises ValueError for a module without such layers or with a `Stateful` inside; and RuntimeError where carrying
    would be wrong: while a checkpoint runs the forward again, in `nn.DataParallel`, for a layer that one call runs
    twice, or in which no layer was seen to run (a module compiled before it was wrapped: wrap it, then compile).
    """

    def __init__(self, module: nn.Module, *, detach: bool = True) -> None:
        super().__init__()
        self.module = module
        self.detach = bool(detach)
        self.states: dict[str, State | Tensor] = {}
        if any(isinstance(part, Stateful) for part in module.modules()):
            raise ValueError("the module holds a Stateful: wrap once, around the whole")
        if not self._layers():
            raise ValueError(f"{type(module).__name__} holds no layer with a state: SpikingLayer, RecurrentDelays, ...")

    def reset(self) -> None:
        """Forget the state: the next call starts from rest."""
        self.states = {}

    @torch.compiler.disable
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module, from where the last call ended."""
        if torch._C._current_graph_task_id() != -1:
            raise RuntimeError(
                "Stateful was called during a backward pass, as a checkpoint does to run the forward again: its state "
                "has gone on since. Pass the state explicitly: layer(x, state, return_state=True)"
            )
        after: dict[str, State | Tensor] = {}
        with ExitStack() as stack:
            for name, layer in self._layers().items():
                for handle in self._hooks(name, layer, after):
                    stack.callback(handle.remove)
            out = self.module(*args, **kwargs)
        if not after:
            raise RuntimeError("no layer was seen to run: wrap the module first, then compile")
        self.states |= after
        return out

    def _layers(self) -> dict[str, nn.Module]:
        parts = self.module.named_modules()
        return {name: part for name, part in parts if isinstance(part, SpikingLayer | FeedforwardDelays)}

    def _hooks(self, name: str, layer: nn.Module, after: dict[str, State | Tensor]) -> list[Any]:
        asked = False

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            nonlocal asked
            if name in after:
                raise RuntimeError(f"layer {name!r} runs twice in one call: pass its state explicitly")
            if (args[1] if len(args) > 1 else kwargs.get("state")) is not None:
                raise RuntimeError(f"layer {name!r} is given a state inside a Stateful, which carries it itself")
            asked = kwargs.get("return_state", False)
            return args[:1], kwargs | {"state": self.states.get(name), "return_state": True}

        def behind(_: nn.Module, args: Any, kwargs: dict[str, Any], out: Any) -> Any:
            after[name] = out.state.detach() if self.detach else out.state
            if asked or kwargs.get("return_membrane"):
                return out if asked else out._replace(state=None)
            return out[0]

        # around whatever hooks the layer has: they see the call and the output that its caller does
        return [
            layer.register_forward_pre_hook(before, with_kwargs=True),
            layer.register_forward_hook(behind, with_kwargs=True, prepend=True),
        ]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"states": {name: state.detach() for name, state in self.states.items()}}

    def _replicate_for_data_parallel(self) -> Any:
        raise RuntimeError("Stateful cannot be replicated: each replica would carry a part of the batch")

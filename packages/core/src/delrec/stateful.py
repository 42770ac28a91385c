"""A wrapper that carries the state of layers from call to call."""

from contextlib import ExitStack
from traceback import walk_stack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import checkpoint

from delrec.checks import check_module, flag
from delrec.engines import State
from delrec.feedforward import FeedforwardDelays
from delrec.spiking import SpikingLayer


class Stateful(nn.Module):
    """A module whose layers continue from the state of the last call, until `reset()`.

    Args:
        module: A layer, or any module that contains layers of this package.
        detach: Detach the state between calls (truncated backpropagation through time). False carries the gradient
            through all calls since `reset()`.

    A copy starts from the same state, detached. The state is not part of the state dict. A layer of which the module
    calls the method `forward`, not the layer itself, starts from rest.

    Raises:
        ValueError: If the module has no stateful layers or already contains a `Stateful`, or if the batch size, dtype
            or device changes between calls.
        RuntimeError: If the state cannot be carried: inside activation checkpointing, under `nn.DataParallel`, if a
            layer runs twice in one call or is given a state, or if the module was compiled before it was wrapped.
    """

    def __init__(self, module: nn.Module, *, detach: bool = True) -> None:
        super().__init__()
        self.module = check_module(module)
        self.detach = flag("detach", detach)
        self.states: dict[str, State | Tensor] = {}
        if any(isinstance(part, Stateful) for part in module.modules()):
            raise ValueError("the module already contains a Stateful: wrap only the outermost module")
        if not self._layers():
            raise ValueError(f"{type(module).__name__} holds no layer with a state: SpikingLayer, RecurrentDelays, ...")

    def reset(self) -> None:
        """Forget the state: the next call starts from rest."""
        self.states = {}

    @torch._disable_dynamo  # as in torch's optimizers: torch.compiler.disable would import the whole compiler here
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module, continuing from the last call."""
        after: dict[str, State | Tensor] = {}
        trains = torch.is_grad_enabled()
        with ExitStack() as stack:
            for name, layer in self._layers().items():
                for handle in self._hooks(name, layer, after, trains):
                    stack.callback(handle.remove)
            out = self.module(*args, **kwargs)
        if not after:
            raise RuntimeError("no stateful layer ran: wrap the module before calling torch.compile")
        self.states |= after
        return out

    def _layers(self) -> dict[str, nn.Module]:
        parts = self.module.named_modules()
        return {name: part for name, part in parts if isinstance(part, SpikingLayer | FeedforwardDelays)}

    def _hooks(self, name: str, layer: nn.Module, after: dict[str, State | Tensor], trains: bool) -> list[Any]:
        asked = False

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            nonlocal asked
            if name in after:
                raise RuntimeError(f"layer {name!r} runs twice in one call: pass its state explicitly")
            if trains and any(frame.f_code.co_filename == checkpoint.__file__ for frame, _ in walk_stack(None)):
                raise RuntimeError(f"layer {name!r} is in a checkpoint, and would run again from rest: pass its state")
            if (args[1] if len(args) > 1 else kwargs.get("state")) is not None:
                raise RuntimeError(f"layer {name!r} is given a state inside a Stateful, which carries it itself")
            asked = kwargs.get("return_state", False)
            return args[:1], kwargs | {"state": self.states.get(name), "return_state": True}

        def behind(_: nn.Module, args: Any, kwargs: dict[str, Any], out: Any) -> Any:
            after[name] = out.state.detach() if self.detach else out.state
            if asked or kwargs.get("return_membrane"):
                return out if asked else out._replace(state=None)
            return out[0]

        # outermost, so that other hooks of the layer see the caller's arguments and output
        return [
            layer.register_forward_pre_hook(before, with_kwargs=True),
            layer.register_forward_hook(behind, with_kwargs=True, prepend=True),
        ]

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"states": {name: state.detach() for name, state in self.states.items()}}

    def _replicate_for_data_parallel(self) -> Any:
        raise RuntimeError("Stateful cannot be replicated: each replica would carry a part of the batch")

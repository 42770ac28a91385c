"""Check an engine against golden vectors of the published implementations.

    python -m delrec.verify PATH... [--engine NAME] [--dtype float64|float32] [--device cpu|cuda]

PATH is a golden file (.npz) or a folder of them, of two kinds: `delrec_*` (a recurrent-delay layer: spikes,
membrane, interpolation kernel, loss and every gradient) and `dcls1d_*` (a feedforward-delay layer). One line per file
tells what agrees; the last line is "N passed, M failed", and ", K skipped" where the engine leaves K files to another.
Exit status: 0 all agree; 1 one disagrees; 2 nothing to check, or a file is unreadable or of neither kind.

An engine for inference alone (events) gives no gradients and takes whole delays: its spikes are held against the
reference engine's for the same layer as deployed, and its line says so.

Agreement: spikes are equal; for every other array max|a-b| <= tol max(1, max|b|), tol = 1e-9 in float64 and 1e-4
in float32 (where spikes must be equal wherever |H - threshold| >= 1e-5).
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from delrec.delays import kernel_length, triangle_kernel
from delrec.engines import ENGINES, EngineError, delayed_linear, engine_for
from delrec.feedforward import FeedforwardDelays
from delrec.neurons import LIF
from delrec.recurrent import RecurrentDelays
from delrec.surrogates import make_surrogate

__all__ = ["GoldenError", "check_file", "main"]

Arrays = Mapping[str, NDArray]
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
# Gradients of the published Triangle, which rounds the gradient at each spike to float32 before summing: the same
# numbers to float32's precision only (1.26e-7 at most over the golden files).
ROUNDED, ROUNDED_TOLERANCE = "_f32surr", 1.3e-7
NEAR_THRESHOLD = 1e-5

_LAYER_KEYS = (
    "x W d p_spread cot_s cot_v spikes v_seq loss grad_x grad_W grad_d mask L sigma tau v_threshold v_reset "
    "soft_reset detach_reset use_p_spread surrogate surrogate_param"
).split()
_CONV_KEYS = ("x weight P bias K left_padding right_padding kernel y cot_y grad_x grad_weight grad_P grad_bias").split()


class NotCheckedError(Exception):
    """The engine has no part in a golden file."""


class GoldenError(Exception):
    """A golden file cannot be used: unreadable, of neither kind, or with a missing or unknown array."""


@dataclass(frozen=True)
class Where:
    """What is checked, in which precision, on which type of device."""

    engine: str
    dtype: torch.dtype
    device: str
    tolerance: float

    def tensor(self, array: NDArray) -> Tensor:
        """Return an array there."""
        return torch.from_numpy(array).to(self.device, self.dtype)


@dataclass(frozen=True)
class Comparison:
    """One array held against its golden value; `error` is max|a-b| / max(1, max|b|)."""

    name: str
    error: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the error is within the tolerance (NaN is not)."""
        return self.error <= self.tolerance


def _compare(name: str, ours: Tensor | NDArray, golden: NDArray, tolerance: float) -> Comparison:
    mine = ours.detach().double().cpu().numpy() if isinstance(ours, Tensor) else np.asarray(ours, dtype=np.float64)
    want = np.asarray(golden, dtype=np.float64)
    if mine.shape != want.shape:
        raise GoldenError(f"array {name!r} has shape {want.shape}, the settings of the file imply {mine.shape}")
    scale = max(1.0, float(np.abs(want).max(initial=0.0)))
    return Comparison(name, float(np.abs(mine - want).max(initial=0.0)) / scale, tolerance)


def _read(path: Path) -> dict[str, NDArray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise GoldenError(f"cannot be read as a golden .npz file ({error})") from error


def _require(arrays: Arrays, keys: Sequence[str], optional: Sequence[str]) -> None:
    missing = [key for key in keys if key not in arrays]
    unknown = [key for key in arrays if key not in keys and key not in optional]
    if missing or unknown:
        raise GoldenError(
            f"missing arrays: {', '.join(missing) or 'none'}; unknown arrays: {', '.join(unknown) or 'none'}"
        )
    for key in keys:
        if arrays[key].dtype.kind in "fc" and key != "v_reset" and not np.isfinite(arrays[key]).all():
            raise GoldenError(f"array {key!r} holds NaN or infinity")


def _layer_of(arrays: Arrays, where: Where) -> RecurrentDelays:
    soft = bool(arrays["soft_reset"])
    neuron = LIF(
        tau=float(arrays["tau"]),
        threshold=float(arrays["v_threshold"]),
        reset="soft" if soft else "hard",
        v_reset=0.0 if soft else float(arrays["v_reset"]),
        detach_reset=bool(arrays["detach_reset"]),
        surrogate=make_surrogate(str(arrays["surrogate"]), float(arrays["surrogate_param"])),
    )
    size = arrays["W"].shape[0]
    kind = {1: "axonal", 2: "synaptic"}.get(arrays["d"].ndim)
    if kind is None or arrays["d"].shape != arrays["W"].shape[: arrays["d"].ndim] or arrays["W"].shape != (size, size):
        raise GoldenError(f"W {arrays['W'].shape} and d {arrays['d'].shape} fit neither axonal nor synaptic delays")
    layer = RecurrentDelays(
        size,
        neuron=neuron,
        delays=kind,  # type: ignore[arg-type]
        learn_spread=bool(arrays["use_p_spread"]),
        engine=where.engine,
    ).to(where.device, where.dtype)
    # copied last and in full precision: a float32 buffer would move sigma by more than the tolerance
    layer.sigma = torch.tensor(float(arrays["sigma"]), dtype=where.dtype, device=where.device)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(arrays["W"]))
        layer.delay.copy_(torch.from_numpy(arrays["d"]))
        if layer.spread is not None:
            layer.spread.copy_(torch.from_numpy(arrays["p_spread"]))
    return layer


def _check_layer(arrays: Arrays, where: Where) -> list[Comparison]:
    tolerance = where.tolerance
    spread = bool(arrays.get("use_p_spread", False))
    gradients = ["grad_x", "grad_W", "grad_d", *(["grad_p_spread"] if spread else [])]
    _require(arrays, [*_LAYER_KEYS, *gradients[3:]], [name + ROUNDED for name in gradients])
    layer = _layer_of(arrays, where)
    x = where.tensor(arrays["x"]).requires_grad_()
    if not engine_for(where.engine, where.device)[0].gradients:
        return _check_deployed(layer, x.detach())
    spikes, _, membrane = layer(x, return_membrane=True)
    cot_s, cot_v = (where.tensor(arrays[key]) for key in ("cot_s", "cot_v"))
    loss = (cot_s * spikes).sum() + (cot_v * membrane).sum()
    loss.backward()

    results = [_compare_spikes(spikes, arrays, where.dtype)]
    length = kernel_length(layer.delay, layer.half_width())
    taps = triangle_kernel(layer.delay, layer.half_width(), length)
    results.append(_compare("L", np.asarray(length), arrays["L"], 0.0))
    results.append(_compare("mask", taps, arrays["mask"], tolerance))
    results.append(_compare("v_seq", membrane, arrays["v_seq"], tolerance))
    results.append(_compare("loss", loss, arrays["loss"], tolerance))
    found = {"grad_x": x, "grad_W": layer.weight, "grad_d": layer.delay, "grad_p_spread": layer.spread}
    for name in gradients:
        gradient = getattr(found[name], "grad", None)
        assert gradient is not None
        results.append(_compare(name, gradient, arrays[name], tolerance))
        if name + ROUNDED in arrays:
            rounded = max(tolerance, ROUNDED_TOLERANCE)
            results.append(_compare(name + ROUNDED, gradient, arrays[name + ROUNDED], rounded))
    return results


@torch.no_grad()
def _check_deployed(layer: RecurrentDelays, x: Tensor) -> list[Comparison]:
    """Hold the spikes of an engine without gradients against the reference engine's, delays whole and sigma 0."""
    with layer.deployed():
        ours = layer(x)
        layer.engine = "reference"
        wrong = float((ours != layer(x)).sum())
    return [Comparison("spikes as deployed, against the reference engine", wrong, 0.0)]


def _compare_spikes(spikes: Tensor, arrays: Arrays, dtype: torch.dtype) -> Comparison:
    differ = spikes.detach().double().cpu().numpy() != arrays["spikes"]
    if dtype != torch.float64:
        # H is the membrane before the reset; where it lies this near to the threshold, rounding may decide
        golden, threshold = arrays["spikes"], float(arrays["v_threshold"])
        soft = bool(arrays["soft_reset"])
        before = arrays["v_seq"] + golden * threshold if soft else np.where(golden > 0, np.inf, arrays["v_seq"])
        differ = differ & (np.abs(before - threshold) >= NEAR_THRESHOLD)
    return Comparison("spikes", float(differ.sum()), 0.0)


def _check_conv(arrays: Arrays, where: Where) -> list[Comparison]:
    tolerance = where.tolerance
    if not engine_for(where.engine, where.device)[0].gradients:
        raise NotCheckedError(f"the {where.engine} engine gives no gradients, and this is a convolution's file")
    _require(arrays, _CONV_KEYS, [])
    outputs, inputs, count = arrays["weight"].shape
    layer = FeedforwardDelays(
        inputs,
        outputs,
        window=int(arrays["K"]),
        kernel_count=count,
        left_padding=int(arrays["left_padding"]),
        right_padding=int(arrays["right_padding"]),
        engine=where.engine,
    ).to(where.device, where.dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(arrays["weight"]))
        layer.position.copy_(torch.from_numpy(np.moveaxis(arrays["P"], -1, 0).reshape(count, outputs, inputs)))
        assert layer.bias is not None
        layer.bias.copy_(torch.from_numpy(arrays["bias"]))
    x = where.tensor(arrays["x"]).requires_grad_()
    steps = x.permute(2, 0, 1)
    if where.engine not in ("auto", "reference"):  # what it leaves to torch's convolution proves nothing of it
        parts = (layer.weight[..., 0], layer.effective_position()[0], layer.bias)
        padding = (layer.window, layer.left_padding, layer.right_padding)
        if count > 1 or delayed_linear(where.engine, steps, *parts, *padding) is None:
            raise NotCheckedError(f"the {where.engine} engine leaves this convolution to torch here")
    y = layer(steps).permute(1, 2, 0)
    (y * where.tensor(arrays["cot_y"])).sum().backward()
    position = layer.position.grad
    assert position is not None and x.grad is not None and layer.weight.grad is not None
    assert layer.bias is not None and layer.bias.grad is not None
    ours = {
        "kernel": layer.dense_kernel(),
        "y": y,
        "grad_x": x.grad,
        "grad_weight": layer.weight.grad,
        "grad_P": position.reshape(arrays["P"].shape),
        "grad_bias": layer.bias.grad,
    }
    return [_compare(name, value, arrays[name], tolerance) for name, value in ours.items()]


_KINDS: dict[str, Callable[[Arrays, Where], list[Comparison]]] = {
    "delrec_": _check_layer,
    "dcls1d_": _check_conv,
}


def check_file(path: Path, engine: str = "auto", dtype: str = "float64", device: str = "cpu") -> list[Comparison]:
    """Run one golden file through an engine and return one comparison an array.

    Raises GoldenError when the file is unreadable, of neither kind, or incomplete, or the engine does not run its
    layer; NotCheckedError where the engine has no part in it.
    """
    kind = next((check for prefix, check in _KINDS.items() if path.name.startswith(prefix)), None)
    if kind is None:
        raise GoldenError("is of neither kind: the name begins with neither delrec_ nor dcls1d_")
    arrays = _read(path)
    try:
        return kind(arrays, Where(engine, getattr(torch, dtype), device, TOLERANCE[dtype]))
    except EngineError as error:
        raise GoldenError(str(error)) from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise GoldenError(f"holds settings that no layer can be built from ({error})") from error


def _files(paths: Sequence[str]) -> list[Path]:
    files: list[Path] = []
    for text in paths:
        path = Path(text)
        files.extend(sorted(path.glob("*.npz")) if path.is_dir() else [path])
    return files


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m delrec.verify",
        description="Check an engine against golden vectors of the published implementations.",
        epilog="Exit status: 0 all agree, 1 one disagrees, 2 nothing to check or a file cannot be used.",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a golden .npz file, or a folder of them")
    parser.add_argument("--engine", default="auto", choices=["auto", *ENGINES], help="engine to check (default: auto)")
    parser.add_argument("--dtype", default="float64", choices=sorted(TOLERANCE), help="precision (default: float64)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="where (default: cpu)")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("nothing to check: --device cuda, and torch sees no CUDA device here\n0 passed, 0 failed")
        return 2

    passed = failed = unusable = skipped = 0
    for path in _files(options.paths):
        try:
            results = check_file(path, options.engine, options.dtype, options.device)
        except NotCheckedError as error:
            skipped += 1
            print(f"skip  {path.name}: {error}")
            continue
        except GoldenError as error:
            unusable += 1
            print(f"ERROR {path.name}: {error}")
            continue
        wrong = [result for result in results if not result.agrees]
        passed, failed = passed + (not wrong), failed + bool(wrong)
        if wrong:
            print(
                f"FAIL  {path.name}: " + "; ".join(f"{r.name} off by {r.error:.3g} (> {r.tolerance:g})" for r in wrong)
            )
        else:
            worst = max(
                results,
                key=lambda r: r.error if r.tolerance < ROUNDED_TOLERANCE or options.dtype == "float32" else 0,
            )
            print(f"ok    {path.name}: {len(results)} arrays, largest error {worst.error:.2g} ({worst.name})")
    if not passed + failed + unusable:
        print(f"nothing to check: no .npz file for this engine in {', '.join(options.paths)}")
    print(f"{passed} passed, {failed + unusable} failed" + f", {skipped} skipped" * (skipped > 0))
    return 2 if unusable or not passed + failed else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

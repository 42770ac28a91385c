"""Check an engine against golden vectors of the published implementations.

    python -m delrec.verify PATH... [--engine NAME] [--dtype float64|float32] [--device cpu|cuda]

PATH is a golden file (.npz) or a folder of them: `delrec_*` holds a recurrent layer (spikes, membrane, interpolation
kernel, loss and every gradient), `dcls1d_*` a feedforward one. It prints one line per file, and at the end "N passed,
M failed", with ", K skipped" if the engine cannot run K of them.
Exit status: 0 all agree; 1 one disagrees; 2 nothing to check, or a file is unreadable or of neither kind.

An engine for inference only (events) has no gradients and needs whole delays: its spikes are compared with those of
the reference engine for the same layer as deployed.

Agreement: spikes are equal; for every other array max|a-b| <= tol max(1, max|b|), tol = 1e-9 in float64 and 1e-4
in float32 (where spikes must be equal wherever |H - threshold| >= 1e-5).
"""

import argparse
import operator
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from delrec.delays import kernel_length, triangle_kernel
from delrec.engines import ENGINES, EngineError, engine_for, map_engine
from delrec.feedforward import FeedforwardDelays
from delrec.neurons import LIF
from delrec.recurrent import RecurrentDelays
from delrec.surrogates import make_surrogate

Arrays = Mapping[str, NDArray]
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
_LAYER_KEYS = (
    "x W d p_spread cot_s cot_v spikes v_seq loss grad_x grad_W grad_d mask L sigma tau v_threshold v_reset "
    "soft_reset detach_reset use_p_spread surrogate surrogate_param"
).split()
_CONV_KEYS = "x weight P bias K left_padding right_padding kernel y cot_y grad_x grad_weight grad_P grad_bias".split()


class GoldenError(Exception):
    """Raised for an unusable golden file: unreadable, of neither kind, or with a missing or unknown array."""


class Comparison(NamedTuple):
    """One array compared with its golden value; `error` is max|a-b| / max(1, max|b|), and may be NaN."""

    name: str
    error: float
    tolerance: float


def _compare(name: str, found: Any, golden: NDArray, tolerance: float) -> Comparison:
    mine = torch.as_tensor(found).detach().double().cpu().numpy()
    want = np.asarray(golden, dtype=np.float64)
    if mine.shape != want.shape:
        raise GoldenError(f"array {name!r} has shape {want.shape}, the settings of the file imply {mine.shape}")
    scale = max(1.0, float(np.abs(want).max(initial=0.0)))
    return Comparison(name, float(np.abs(mine - want).max(initial=0.0)) / scale, tolerance)


def _require(arrays: Arrays, keys: Sequence[str], *alike: str) -> None:
    missing = [key for key in keys if key not in arrays]
    # the published Triangle rounds its gradients to float32 (`_f32surr`); the exact ones are compared
    unknown = [key for key in arrays if key not in keys and not key.endswith("_f32surr")]
    if missing or unknown:
        raise GoldenError(f"missing arrays: {missing or 'none'}; unknown arrays: {unknown or 'none'}")
    for key in keys:
        if arrays[key].dtype.kind not in ("U" if key == "surrogate" else "biuf"):
            raise GoldenError(f"array {key!r} is of {arrays[key].dtype}")
    for key in alike:  # numpy and torch would repeat one of another shape
        if arrays[key].shape != (wanted := arrays[alike[0]].shape):
            raise GoldenError(f"array {key!r} has shape {arrays[key].shape}, and {alike[0]!r} {wanted}")


def _check_layer(arrays: Arrays, engine: str, dtype: str, device: str) -> list[Comparison]:
    learned = bool(arrays.get("use_p_spread", False))
    _require(arrays, [*_LAYER_KEYS, *["grad_p_spread"] * learned], "x", "spikes", "cot_s", "cot_v")
    soft, size = bool(arrays["soft_reset"]), arrays["W"].shape[0]
    kind: Any = {(size,): "axonal", (size, size): "synaptic"}.get(arrays["d"].shape)
    if kind is None or arrays["W"].shape != (size, size):
        raise GoldenError(f"W {arrays['W'].shape} and d {arrays['d'].shape} fit neither axonal nor synaptic delays")
    neuron = LIF(
        tau=float(arrays["tau"]),
        threshold=float(arrays["v_threshold"]),
        reset="soft" if soft else "hard",
        v_reset=0.0 if soft else float(arrays["v_reset"]),
        detach_reset=bool(arrays["detach_reset"]),
        surrogate=make_surrogate(str(arrays["surrogate"]), float(arrays["surrogate_param"])),
    )
    layer = RecurrentDelays(size, neuron=neuron, delays=kind, learn_spread=learned, engine=engine)
    names = {"weight": "W", "delay": "d", "sigma": "sigma"} | ({"spread": "p_spread"} if learned else {})
    layer.double().load_state_dict({name: torch.as_tensor(arrays[key]) for name, key in names.items()})
    real, length = getattr(torch, dtype), kernel_length(layer.delay, layer.half_width())  # in float64, as in the file
    layer.to(device, real)
    x, cot_s, cot_v = (torch.from_numpy(arrays[key]).to(device, real) for key in ("x", "cot_s", "cot_v"))
    if not engine_for(engine, device)[0].gradients:  # its spikes against the reference engine's, as deployed
        with layer.deployed(), torch.no_grad():
            found = layer(x)
            layer.engine = "reference"
            wrong = float((found != layer(x)).sum())
        return [Comparison("spikes as deployed, against the reference engine", wrong, 0.0)]
    spikes, _, membrane = layer(x.requires_grad_(), return_membrane=True)
    loss = (cot_s * spikes).sum() + (cot_v * membrane).sum()
    loss.backward()
    found = {"mask": triangle_kernel(layer.delay, layer.half_width(), length), "v_seq": membrane, "loss": loss}
    found |= {"grad_x": x.grad, "grad_W": layer.weight.grad, "grad_d": layer.delay.grad}
    if layer.spread is not None:
        found["grad_p_spread"] = layer.spread.grad
    results = [_compare_spikes(spikes, arrays, dtype), _compare("L", length, arrays["L"], 0.0)]
    return results + [_compare(name, value, arrays[name], TOLERANCE[dtype]) for name, value in found.items()]


def _compare_spikes(spikes: Tensor, arrays: Arrays, dtype: str) -> Comparison:
    differ = spikes.detach().double().cpu().numpy() != arrays["spikes"]
    if dtype != "float64":
        # H is the membrane before the reset; so close to the threshold, rounding may decide
        golden, membrane, threshold = arrays["spikes"], arrays["v_seq"], float(arrays["v_threshold"])
        before = membrane + golden * threshold if arrays["soft_reset"] else np.where(golden > 0, np.inf, membrane)
        differ = differ & (np.abs(before - threshold) >= 1e-5)
    return Comparison("spikes", float(differ.sum()), 0.0)


def _check_conv(arrays: Arrays, engine: str, dtype: str, device: str) -> list[Comparison]:
    if not engine_for(engine, device)[0].gradients:
        raise EngineError(f"the {engine} engine gives no gradients, and this is the file of a convolution")
    _require(arrays, _CONV_KEYS, "y", "cot_y")
    outputs, inputs, count = arrays["weight"].shape
    window, left, right = (operator.index(arrays[key]) for key in ("K", "left_padding", "right_padding"))
    layer = FeedforwardDelays(
        inputs, outputs, window=window, kernel_count=count, left_padding=left, right_padding=right, engine=engine
    )
    position = np.moveaxis(arrays["P"], -1, 0).reshape(count, outputs, inputs)
    values = {"weight": arrays["weight"], "position": position, "bias": arrays["bias"], "spread": 0.0}
    layer.double().load_state_dict({name: torch.as_tensor(value) for name, value in values.items()})
    real = getattr(torch, dtype)
    layer.to(device, real)
    x, cot_y = (torch.from_numpy(arrays[key]).to(device, real) for key in ("x", "cot_y"))
    steps = x.requires_grad_().permute(2, 0, 1)
    if engine not in ("auto", "reference"):  # torch's convolution says nothing about the engine
        parts = layer.weight[..., 0], layer.effective_position()[0], layer.bias
        maps = map_engine(engine, steps)
        taken = maps.delayed_linear(steps, *parts, window, left, right) if count == 1 else None
        padded = F.pad(steps, (0, 0, 0, 0, left, right))
        if taken is None and maps.convolution(padded, layer.dense_kernel(), None) is None:
            raise EngineError(f"the {engine} engine leaves this convolution to torch here")
    y = layer(steps).permute(1, 2, 0)
    (y * cot_y).sum().backward()
    assert layer.position.grad is not None and layer.bias is not None
    found = {"kernel": layer.dense_kernel(), "y": y, "grad_x": x.grad, "grad_weight": layer.weight.grad}
    found |= {"grad_P": layer.position.grad.movedim(0, -1).reshape(arrays["P"].shape), "grad_bias": layer.bias.grad}
    return [_compare(name, value, arrays[name], TOLERANCE[dtype]) for name, value in found.items()]


def check_file(path: Path, engine: str = "auto", dtype: str = "float64", device: str = "cpu") -> list[Comparison]:
    """Run one golden file through an engine and return one comparison per array.

    Raises GoldenError if the file is unreadable, of neither kind or incomplete, EngineError if the engine cannot run
    its layer.
    """
    check = {"delrec": _check_layer, "dcls1d": _check_conv}.get(path.name.partition("_")[0])
    if check is None:
        known = "is of neither kind: the name begins with neither delrec_ nor dcls1d_"
        raise GoldenError(known if path.exists() else "does not exist")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # whatever a damaged file makes zipfile and numpy raise
        # only the kind of numpy's error: it advises to load the file unsafely
        why = error if isinstance(error, OSError | zipfile.BadZipFile) else type(error).__name__
        raise GoldenError(f"cannot be read as a golden .npz file ({why})") from error
    try:
        return check(arrays, engine, dtype, device)
    except EngineError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError, AssertionError) as error:
        why = " ".join(str(error).split())  # torch's messages have several lines
        raise GoldenError(f"holds settings that no layer can be built from ({why})") from error


def _report(path: Path, *settings: str) -> str:
    """Check a file, print its line and return its outcome: "passed", "failed", "unusable" or "skipped"."""
    try:
        results = check_file(path, *settings)
    except EngineError as error:
        print(f"skip  {path.name}: {error}")
        return "skipped"
    except GoldenError as error:
        print(f"ERROR {path.name}: {error}")
        return "unusable"
    wrong = [f"{r.name} off by {r.error:.3g} (> {r.tolerance:g})" for r in results if not r.error <= r.tolerance]
    if wrong:
        print(f"FAIL  {path.name}: {'; '.join(wrong)}")
        return "failed"
    worst = max(results, key=lambda result: result.error)
    print(f"ok    {path.name}: {len(results)} arrays, largest error {worst.error:.2g} ({worst.name})")
    return "passed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m delrec.verify", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a golden .npz file, or a folder of them")
    parser.add_argument("--engine", default="auto", choices=["auto", *ENGINES], help="engine to check (default: auto)")
    parser.add_argument("--dtype", default="float64", choices=sorted(TOLERANCE), help="precision (default: float64)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="where (default: cpu)")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("nothing to check: --device cuda, and torch sees no CUDA device here\n0 passed, 0 failed")
        return 2
    try:
        engine_for(options.engine, options.device)
    except ValueError as error:
        parser.error(str(error))
    files = [f for p in map(Path, options.paths) for f in (sorted(p.glob("*.npz")) if p.is_dir() else [p])]
    found = Counter(_report(file, options.engine, options.dtype, options.device) for file in files)
    failed = found["failed"] + found["unusable"]
    if not found["passed"] + failed:
        print(f"nothing to check: no .npz file in {', '.join(options.paths)} that this engine can run here")
    skipped = f", {found['skipped']} skipped" if found["skipped"] else ""
    print(f"{found['passed']} passed, {failed} failed{skipped}")
    return 2 if found["unusable"] or not found["passed"] + failed else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

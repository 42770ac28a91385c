"""Export a trained network to NIR or safetensors."""

from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places, option

EXAMPLES = (
    ("export safetensors 3f2a", "the network of the run whose key starts with 3f2a"),
    ("export nir model.safetensors", "convert a file to NIR"),
)
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="First characters of a run's key, its folder or record, or a .safetensors file."
    ),
]
OutOption = Annotated[Path | None, option("Output file (default: out/models/MODEL.FORMAT).", metavar="FILE")]


def nir(
    places: Places,
    model: ModelArgument,
    out: OutOption = None,
    step_ms: Annotated[
        float | None, option("Length of a time step (default: the run's, or 1 ms).", min=1e-6, metavar="MS")
    ] = None,
) -> Answer:
    """Export a network as a NIR graph.

    NIR can express hard resets, integer axonal or shared delays, batch norm (folded), and linear or leaky readouts. For
    anything else this command reports an error that names the layer.
    """
    from delrec_bench.export import find_model
    from delrec_bench.export.nir_graph import export_nir

    found = find_model(model, places.workspace, places.tables()[0])
    step = step_ms or (found.record.data.get("step_ms") if found.record is not None else None) or 1.0
    path = out or places.workspace.root / "out" / "models" / f"{found.name}.nir"
    about = {"model": found.name, **{k: str(v) for k, v in found.header.about.items()}}
    told = export_nir(path, found.network, step / 1000, about)
    content = {"model": found.name, "file": str(path), "step_ms": step, "readers": told}
    return Answer(content, "\n".join([f"written: {path} ({step:g} ms per step)", *told]))


def safetensors(places: Places, model: ModelArgument, out: OutOption = None) -> Answer:
    """Export a network as one .safetensors file, which `delrec_bench.export.load_network` reads."""
    from delrec_bench.export import find_model
    from delrec_bench.workspace import write_atomic

    found = find_model(model, places.workspace, places.tables()[0])
    path = out or places.workspace.root / "out" / "models" / f"{found.name}.safetensors"
    data = found.weights()
    write_atomic(path, data)
    return Answer({"model": found.name, "file": str(path), "bytes": len(data)}, f"written: {path}")


COMMANDS = {"nir": nir, "safetensors": safetensors}

"""Write a trained network for others: NIR or safetensors."""

from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

PANEL = "Files"
EXAMPLES = (
    ("export safetensors 3f2a", "the network of the run whose key begins so"),
    ("export nir model.safetensors", "a network from a file, as a NIR graph"),
)

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="The beginning of a run's key, its folder or record, or a .safetensors.")
]
OutOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Else out/models/MODEL and the format's ending.")]


def nir(
    places: Places,
    model: ModelArgument,
    out: OutOption = None,
    step_ms: Annotated[
        float | None, typer.Option(min=1e-6, metavar="MS", help="Length of a step (else the run's, else 1 ms).")
    ] = None,
) -> Answer:
    """Write a network as a NIR graph; what NIR has no word for is refused by name.

    NIR can say: hard reset, axonal or shared delays in whole steps, batch norm (folded), a linear or leaky readout.
    """
    from delrec_bench.export import find_model
    from delrec_bench.export.nir_graph import export_nir

    workspace = places.workspace
    found = find_model(model, workspace, places.tables()[0])
    step = step_ms or (found.record.data.get("step_ms") if found.record is not None else None) or 1.0
    path = out or workspace.root / "out" / "models" / f"{found.name}.nir"
    about = {"model": found.name, **{k: str(v) for k, v in found.about.items()}}
    told = export_nir(path, found.network, step / 1000, about)
    if not places.as_json:
        print("\n".join([f"written: {path} (a step is {step:g} ms)", *told]))
    return 0, {"model": found.name, "file": str(path), "step_ms": step, "readers": told}


def safetensors(places: Places, model: ModelArgument, out: OutOption = None) -> Answer:
    """Write a network as one .safetensors file, which `delrec_bench.export.load_network` reads."""
    from delrec_bench.export import find_model
    from delrec_bench.export.weights import read_weights
    from delrec_bench.workspace import write_atomic

    workspace = places.workspace
    methods, _ = places.tables()
    found = find_model(model, workspace, methods)
    path = out or workspace.root / "out" / "models" / f"{found.name}.safetensors"
    data = found.weights()
    read_weights(data, path.name, methods)  # what is written can be read
    write_atomic(path, data)
    if not places.as_json:
        print(f"written: {path}")
    return 0, {"model": found.name, "file": str(path), "bytes": len(data)}


COMMANDS = {"nir": nir, "safetensors": safetensors}

"""Write a trained network for others: NIR, or safetensors with a model card."""

from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

PANEL = "Files"
EXAMPLES = (
    ("export-model safetensors 3f2a", "the network of the run whose key begins so, with a card"),
    ("export-model nir imported.safetensors", "a network that `import` read, as a NIR graph"),
)

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="The beginning of a run's key, its folder or record, or a .safetensors.")
]


def nir(
    places: Places,
    model: ModelArgument,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Else out/models/MODEL.nir.")] = None,
    step_ms: Annotated[
        float | None, typer.Option(min=1e-6, metavar="MS", help="Length of a step (else the run's, else 1 ms).")
    ] = None,
) -> Answer:
    """Write a network as a NIR graph, read it back and run it; what NIR has no word for is refused by name.

    NIR can say: hard reset, axonal or shared delays in whole steps, batch norm (folded), a linear or leaky readout.
    """
    from delrec_bench.interchange import find_model
    from delrec_bench.interchange.nir_graph import export_nir

    workspace = places.workspace
    found = find_model(model, workspace, places.tables()[0])
    step = step_ms or (found.record.data.get("step_ms") if found.record is not None else None) or 1.0
    path = out or workspace.root / "out" / "models" / f"{found.name}.nir"
    about = {"model": found.name, **{k: str(v) for k, v in found.about.items()}}
    spikes = export_nir(path, found.network, step / 1000, about)
    if not places.as_json:
        print(f"written: {path} (a step is {step:g} ms; read back, it runs to the same {spikes} spikes on drawn input)")
    return 0, {"model": found.name, "file": str(path), "step_ms": step, "spikes": spikes}


def safetensors(
    places: Places,
    model: ModelArgument,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Else out/models/MODEL/.")] = None,
    licence: Annotated[str, typer.Option("--license", metavar="ID", help="Of the weights, as hubs name it.")] = "mit",
) -> Answer:
    """Write a network as model.safetensors with a README.md, the card that hubs read; its numbers are the record's."""
    from delrec_bench.interchange import find_model
    from delrec_bench.interchange.card import WEIGHTS, model_card
    from delrec_bench.interchange.weights import read_weights
    from delrec_bench.workspace import write_atomic

    workspace = places.workspace
    methods, tasks = places.tables()
    found = find_model(model, workspace, methods)
    folder = out or workspace.root / "out" / "models" / found.name
    card, data = model_card(found, methods, tasks, licence), found.weights()
    read_weights(data, WEIGHTS, methods)  # what is written can be read
    paths = [folder / WEIGHTS, folder / "README.md"]
    write_atomic(paths[0], data)
    write_atomic(paths[1], card)
    if not places.as_json:
        print("\n".join(f"written: {path}" for path in paths))
    return 0, {"model": found.name, "files": [str(path) for path in paths], "bytes": len(data)}


COMMANDS = {"nir": nir, "safetensors": safetensors}

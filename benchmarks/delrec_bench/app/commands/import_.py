"""`import`: a checkpoint of DelRec's code of 2025, as a network of this suite."""

from pathlib import Path
from typing import Annotated

import typer

from delrec_bench.app.options import Answer, Places

PANEL = "Files"
EXAMPLES = (
    ("import best.pth", "what is in it: layers, neurons, delays, parameters"),
    ("import best.pth --out best.safetensors", "as a file that export-model and load_network read"),
    ("import best.pth --check expected.npz", "whether it gives the logits of x, logits in that file"),
)


def command(
    places: Places,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint of that code; read as numbers alone.")],
    setting: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="shd, ssc, ps-mnist, shd-equi-parameter (else told by the file's form)."),
    ] = None,
    sigma: Annotated[
        float | None, typer.Option(min=0.0, metavar="STEPS", help="Spread, which the file lacks (0.06, as published).")
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, metavar="STEPS", help="Of feedforward delays (else the setting's)."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the network, .safetensors.")] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Compare with x (T, B, inputs), logits; exit 1 if unlike.")
    ] = None,
) -> Answer:
    """Read a checkpoint of DelRec's published code of 2025, say what is in it, and save it as a network of ours."""
    from delrec_bench.errors import BenchError
    from delrec_bench.interchange.expected import Expected, compare_logits
    from delrec_bench.interchange.published import SIGMA, import_published
    from delrec_bench.interchange.weights import build_of, weights_bytes
    from delrec_bench.workspace import write_atomic

    if out is not None and out.suffix != ".safetensors":
        raise BenchError(f"--out {out}: a network is written as .safetensors; name it so")
    expected = None if check is None else Expected.read(check)
    if sigma is None:
        sigma = SIGMA if expected is None or expected.sigma is None else expected.sigma
    found = import_published(file, setting, sigma, window)
    network = found.network
    content = {"setting": found.setting, "epoch": found.epoch, "accuracy": found.accuracy, **found.described()}
    lines, code = [f"{file}: {line}" if i == 0 else line for i, line in enumerate(found.lines())], 0
    if expected is not None:
        agreement = compare_logits(network, expected)
        code = 0 if agreement.agrees else 1
        lines.append(f"{check}: {agreement}")
        content |= {"agrees": agreement.agrees, "largest_difference": agreement.difference}
    if out is not None:
        about = {"from": file.name, "setting": found.setting, "epoch": found.epoch, "accuracy": found.accuracy}
        write_atomic(out, weights_bytes(network, build_of(network), about))
        lines.append(f"written: {out}")
        content["out"] = str(out)
    if not places.as_json:
        print("\n".join(lines))
    return code, content

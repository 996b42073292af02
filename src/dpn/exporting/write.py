"""dpn.export: a network to a file, which is compared with the network before it is there."""

import json
import logging
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from dpn.errors import InputError, first_line
from dpn.exporting.compare import Agreement, compared
from dpn.exporting.program import head_of, program_of
from dpn.files import sweep, written_whole
from dpn.model import DPN
from dpn.mrf import MRF
from dpn.packages import versions

FORMATS = {".onnx": ("onnx", "onnxscript", "onnxruntime"), ".pt2": ()}
"""{suffix: the packages that it takes}."""


def export(model: DPN | MRF, path: Path | str) -> list[Agreement]:
    """Writes a network to a file that runs without dpn, and compares what the file gives with what the network gives.

    `path` ends in .onnx, for onnxruntime and whatever else reads ONNX, in standard operators of opset 20; or in .pt2, which
    torch.export.load opens. Either takes `image`, (N,3,H,W) float32, RGB in [0,1], of any N, H and W, and gives `log_q`,
    (N,L,H,W), as far as the network's stage goes; a head takes `log_p`, (N,L,H,W), before the image. In memory it needs
    little more than these. What the numbers mean, and the labels' names in JSON, are in the ONNX file's metadata, or in the
    extra file `dpn.json` of the other. All labels take part, as at absent_below = 0.

    Args:
        model: a DPN or an MRF. One with an aligned b12 is written for images of its size.
        path: the file.

    Returns:
        How well it agrees, for scikit-image's astronaut at two sizes.

    Raises:
        InputError: if the file ends otherwise or cannot be written, a package is missing, torch cannot export the network, or
            what the file gives is not what the network gives. Then no file is written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from dpn.unary import FCN
        >>> model = DPN(FCN(labels=2, width=4), MRF(2, window=5, context=3))
        >>> with TemporaryDirectory() as folder:
        ...     agreements = export(model, f"{folder}/small.pt2")
        ...     program = torch.export.load(f"{folder}/small.pt2").module()
        ...     agreements[0].labels > 0.999, program(torch.rand(1, 3, 40, 50)).shape
        (True, torch.Size([1, 2, 40, 50]))
    """
    path = Path(path)
    if not isinstance(model, DPN | MRF):
        raise InputError(f"{path}: a DPN or an MRF can be exported, got a {type(model).__name__}; give the network inside")
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: the file must be called NAME{' or NAME'.join(FORMATS)}")
    if missing := [package for package in FORMATS[path.suffix] if find_spec(package) is None]:
        raise InputError(f"{path}: needs {' and '.join(missing)}: pip install -c constraints.txt -e '.[export]'")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")
    sweep(path.absolute().parent)
    with written_whole(path) as temporary:
        program = program_of(model, path)
        (_write_onnx if path.suffix == ".onnx" else _write_pt2)(program, model, temporary)
        return compared(model, temporary, path)


def about(model: DPN | MRF) -> dict[str, str]:
    """What a file says of itself."""
    names = model.labels if isinstance(model, DPN) else [str(label) for label in range(model.labels)]
    inputs = {"image": "(N,3,H,W) float32, RGB in [0,1]"}
    if isinstance(model, MRF):
        inputs = {"log_p": "(N,L,H,W) float32, log-probabilities of the labels"} | inputs
    said: dict[str, Any] = {
        "inputs": inputs,
        "outputs": {"log_q": "(N,L,H,W) float32, log-probabilities of the labels"},
        "labels": list(names),
    }
    said["made_with"] = versions(["deep-parsing-network", "torch", "onnxscript"])
    return {name: json.dumps(value, ensure_ascii=False) for name, value in said.items()}


def _write_pt2(program: ExportedProgram, model: DPN | MRF, path: Path) -> None:
    with path.open("wb") as file:  # torch would call what is inside after the path, which is not the file's yet
        torch.export.save(program, file, extra_files={"dpn.json": json.dumps(about(model))})


def _write_onnx(program: ExportedProgram, model: DPN | MRF, path: Path) -> None:
    import onnx

    names: dict[str, Any] = {"input_names": [*json.loads(about(model)["inputs"])], "output_names": ["log_q"]}
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # that torchvision, whose operators nobody needs, is not there
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            written = torch.onnx.export(program, **names, opset_version=20, dynamo=True, verbose=False)
    except Exception as error:  # the exporter's own, which share no other class
        raise InputError(f"{path}: torch cannot write it as ONNX: {first_line(error)}") from error
    finally:
        logging.disable(before)
    assert written is not None
    network = written.model_proto
    sizes = ("height", "width") if head_of(model).config.aligned is None else ()
    for value in (*network.graph.input, *network.graph.output):
        batch, _, *extents = value.type.tensor_type.shape.dim
        for extent, name in zip((batch, *extents), ("batch", *sizes), strict=False):
            extent.dim_param = name
    onnx.helper.set_model_props(network, about(model))
    onnx.save(network, path)

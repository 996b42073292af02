"""Sound files of each kind that strangers may give, to be damaged."""

import io
import json
import os
import shutil
import sys
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image
from runs import command, inputs

SIDES = (24, 20)
"""Height and width of the sound pictures."""


def sound(home: Path) -> None:
    """Writes sound files of each kind of `uses` into home/KIND, and what they are read with; imports what reads them."""
    inputs(home)
    child = os.fork()
    if not child:
        code = 1
        try:
            _pictures(home)
            _models(home)
            _texts(home)
            (home / "modules").write_text("\n".join(sys.modules))
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the sound files cannot be made; what was wrong is told above")
    for module in (home / "modules").read_text().split():
        with suppress(Exception):
            import_module(module)
    Image.init()


def _pictures(home: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("images", "photographs", "masks", "slides", "clips", "lists", "scores"):
        (home / kind).mkdir()
    colour = Image.fromarray(rng.integers(0, 256, (*SIDES, 3)).astype(np.uint8))
    grey, ids = colour.convert("L"), Image.fromarray(rng.integers(0, 3, SIDES).astype(np.uint8))
    palette = ids.convert("P")
    turned = Image.Exif()
    turned[0x0112] = 6
    for kind in ("images", "photographs"):
        colour.save(home / kind / "photo.jpg", exif=turned)
        colour.save(home / kind / "progressive.jpg", progressive=True)
        for suffix in ("png", "bmp", "ppm", "webp", "tif", "gif", "jp2"):
            colour.save(home / kind / f"colour.{suffix}")
    colour.convert("RGBA").save(home / "images" / "alpha.png")
    palette.save(home / "images" / "palette.png", transparency=1)
    Image.fromarray(rng.integers(0, 65536, SIDES).astype(np.uint16)).save(home / "images" / "deep.png")
    for name, mask in (("palette", palette), ("grey", ids), ("bits", ids.convert("1")), ("colours", palette.convert("RGB"))):
        mask.save(home / "masks" / f"{name}.png")
    ids.save(home / "masks" / "grey.tif", compression="tiff_lzw")
    ids.save(home / "masks" / "grey.webp", lossless=True)
    (home / "masks" / "three.ppm").write_bytes(b"P5 20 24 2\n" + np.asarray(ids).tobytes())
    for name, more in (("strips", {}), ("deflated", {"compression": "tiff_deflate"}), ("jpeg", {"compression": "jpeg"})):
        colour.save(home / "slides" / f"{name}.tif", **more)
    import tifffile

    with tifffile.TiffWriter(home / "slides" / "pyramid.tif", bigtiff=True) as file:
        file.write(np.asarray(colour), tile=(16, 16), subifds=1, photometric="rgb")
        file.write(np.asarray(colour)[::2, ::2], tile=(16, 16), photometric="rgb")
    for suffix in ("gif", "webp", "png", "tif"):
        colour.save(home / "clips" / f"clip.{suffix}", save_all=True, append_images=[grey.convert("RGB"), colour], duration=40)
    colour.save(home / "refined.png")
    scores = rng.random((3, *SIDES)).astype(np.float32)
    np.save(home / "scores" / "scores.npy", scores / scores.sum(0))
    np.savez_compressed(home / "scores" / "scores.npz", scores / scores.sum(0))
    shutil.copy(home / "masks" / "grey.png", home / "scores")


def _models(home: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from dpn import DPN, MRF, save
    from dpn.unary import FCN

    (home / "models").mkdir()
    (home / "weights").mkdir()
    network = DPN(FCN(labels=3, width=2), MRF(3, components=2, window=5, context=3), labels=["sky", "sea", "sun"])
    save(network, home / "models" / "small.safetensors")
    save(network, home / "models" / "stages.safetensors", earlier={"unary": network.state_dict()})
    torch.save({"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(2)}, home / "weights" / "layer.pt")
    torch.save({"state_dict": {"a.weight": torch.zeros(2, 3)}, "epoch": 3}, home / "weights" / "nested.pt")
    save_file({"a.weight": torch.zeros(2, 3)}, home / "weights" / "layer.safetensors")
    with redirect_stdout(io.StringIO()):
        command(["train", str(home / "recipe.yaml"), "--device", "cpu"], home / "finished")
    (home / "runs").mkdir()
    for path in (home / "finished").iterdir():
        if path.is_file() and path.suffix in (".json", ".yaml", ".csv", ".ckpt", ".safetensors"):
            shutil.copy(path, home / "runs")


def _texts(home: Path) -> None:
    import tarfile

    (home / "recipes").mkdir()
    (home / "labels").mkdir()
    shutil.copy(home / "recipe.yaml", home / "recipes" / "plain.yaml")
    printed = io.StringIO()
    from dpn.cli import main

    with redirect_stdout(printed), suppress(SystemExit):
        main(["train", str(home / "recipe.yaml"), "--print_config"])
    (home / "recipes" / "whole.yaml").write_text(printed.getvalue())
    _outlines(home)
    photographs = sorted((home / "photographs").iterdir())
    (home / "lists" / "list.txt").write_text("\n".join([*map(str, photographs), f"{home}/masks/*.png", "", f"{home}/data"]))
    with tarfile.open(home / "lists" / "shard.tar", "w") as archive:
        for path in photographs:
            archive.add(path, path.name)
    (home / "labels" / "labels.txt").write_text("sky\nsea\nsun\n")
    (home / "labels" / "labels.yaml").write_text("labels: {sky: 0, sea: [1, '#00ff00'], sun: 7}\nvoid: 255\nmasks: masks\n")
    (home / "labels" / "numbers.json").write_text(json.dumps({"labels": {"sky": 0, "sea": 1}}))


def _outlines(home: Path) -> None:
    (home / "drawn").mkdir()
    (home / "outlines").mkdir()
    shutil.copy(home / "images" / "colour.png", home / "drawn" / "photo.png")
    height, width = SIDES
    corners, name = [[2, 2], [15, 3], [9, 18]], "photo.png"
    flat = [coordinate for corner in corners for coordinate in corner]
    coco = {
        "images": [{"id": 1, "file_name": name, "height": height, "width": width}],
        "categories": [{"id": 1, "name": "sea"}, {"id": 5, "name": "sun"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [flat], "area": 90, "iscrowd": 0,
             "bbox": [2, 2, 13, 16]},
            {"id": 2, "image_id": 1, "category_id": 5, "segmentation": {"counts": [200, 30, 250], "size": [height, width]},
             "area": 30, "iscrowd": 1, "bbox": [0, 0, 9, 9]},
        ],
    }  # fmt: skip
    labelme = {
        "version": "5.0", "flags": {}, "imagePath": name, "imageData": None, "imageHeight": height, "imageWidth": width,
        "shapes": [{"label": "sea", "points": corners, "shape_type": "polygon", "flags": {}, "group_id": None}],
    }  # fmt: skip
    points = ";".join(f"{x},{y}" for x, y in corners)
    cvat = f"""<?xml version="1.0"?>
<annotations><version>1.1</version><meta><task><labels><label><name>sea</name></label></labels></task></meta>
<image id="0" name="{name}" width="{width}" height="{height}">
<polygon label="sea" points="{points}" z_order="0"/>
<box label="sea" xtl="1" ytl="2" xbr="9" ybr="8" z_order="1"/>
<mask label="sea" rle="3, 5, 8" left="2" top="3" width="4" height="4" z_order="2"/>
</image></annotations>
"""
    (home / "outlines" / "annotations.json").write_text(json.dumps(coco))
    (home / "outlines" / "photo.json").write_text(json.dumps(labelme))
    (home / "outlines" / "annotations.xml").write_text(cvat)

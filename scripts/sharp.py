"""What a head gains that works at finer pixels than the network saw: dpn.segment_in_tiles' `sharp`, by truths of full size.

    python scripts/sharp.py voc --data_root DIR --every 9

The network sees each image with its longer side at SIDE pixels, and the head refines that: there, and its answer is scaled up;
there twice; at the image's pixels, as it is; and there with its distances as many times longer. The last row is the network
that sees the image itself. mIoU and accuracy within 5 pixels of a boundary are printed, with gains over the first row.
"""

from pathlib import Path

import torch
from jsonargparse import auto_cli

from dpn import load, segment
from dpn.data import open_data, to_tensor
from dpn.inference.rasters import Box, Held, Size
from dpn.inference.tiles import Known, Refined, over_finer_pixels, resampled
from dpn.metrics import Evaluation
from dpn.terminal import console, progress_bar


def main(
    model: str, data_root: Path | None = None, data: str = "voc", split: str = "val", every: int = 9, side: int = 257
) -> None:
    """Prints the table.

    Args:
        model: a shipped name, a run's folder or a safetensors file.
        data_root: where the data lies.
        data: voc, camvid or folder.
        split: which part of it.
        every: takes one image in so many.
        side: the longer side at which the network sees an image.
    """
    network = load(model)
    images = open_data(data, root=data_root, split=split)
    evaluation = Evaluation(network.labels)
    with progress_bar() as progress, torch.inference_mode():
        for i in progress.track(range(0, len(images), every), description="sharp"):
            image, labels, name = images[i]
            pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
            raster, size = Held(pixels), Size(*pixels.shape[:2])
            scale = min(1.0, side / max(size))
            seen = Size(*(max(1, round(each * scale)) for each in size))
            there, whole = Box(0, 0, *seen), Box(0, 0, *size)
            log_p = Known(network.unary(to_tensor(raster.window(there, seen))[None])[0])
            once = Known(Refined(network.mrf, log_p, raster, seen).window(there))
            longer = over_finer_pixels(network.mrf, round(1 / scale))
            rows = {
                "scaled up": once,
                "refined twice, scaled up": Known(Refined(network.mrf, once, raster, seen).window(there)),
                "refined in full": Known(Refined(network.mrf, log_p, raster, size).window(whole)),
                "in full, longer distances": Known(Refined(longer, log_p, raster, size).window(whole)),
            }
            for system, log_q in rows.items():
                evaluation.add(system, resampled(Known(log_q.maps.exp()), whole, size).argmax(0), labels, name)
            evaluation.add("seen in full", segment(pixels, network, size=max(size)).labels, labels, name)
    evaluation.table().print(console())


if __name__ == "__main__":
    auto_cli(main)

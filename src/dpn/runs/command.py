"""`dpn segment` and `dpn demo`: photographs and clips in; their labels, and pictures of them, out."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import partial
from json import dumps
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from PIL import Image

from dpn.data import PHOTOGRAPHS, photograph
from dpn.devices import device_named
from dpn.errors import InputError, require_whole
from dpn.files import written_whole
from dpn.inference.segmentation import SIZE, USUAL, Kind
from dpn.inference.video_command import segment_clip
from dpn.inference.video_outputs import Write
from dpn.model_files import DEFAULT_MODEL
from dpn.runs.destination import Folder, destination
from dpn.runs.here import here
from dpn.runs.items import Item
from dpn.runs.manifest import Record
from dpn.runs.on_ray import on_ray
from dpn.runs.order import Order
from dpn.runs.resume import resumed
from dpn.runs.roads import FILMS, Road, written_as
from dpn.runs.run import StoppedError, made_with, run
from dpn.runs.shards import shard_named
from dpn.runs.sources import items_of
from dpn.runs.stores import is_url, local
from dpn.runs.summary import ROWS, made_of, over_all, print_labels, print_rows, told_of
from dpn.stopping import code_of, told
from dpn.terminal import complain, console


def segment_photographs(
    images: Sequence[str | Path],
    *,
    out: str | Path = "results",
    write: Sequence[Kind] = USUAL,
    model: str | None = None,
    unary: str | None = None,
    stages: bool = False,
    size: int = SIZE,
    device: str = "auto",
    json: bool = False,
    shard: str | None = None,
    engine: Literal["here", "ray"] = "here",
    workers: int | None = None,
    anew: bool = False,
) -> int:
    """Label every pixel of photographs and clips.

    For each photograph NAME it prints the labels found and their shares of the pixels, and writes, as --write says,
      labels         NAME_labels.png: the label of each pixel, a palette PNG
      overlay        NAME_overlay.png: the photograph under its labels, with a legend
      probabilities  NAME_probabilities.npz: of each label at each pixel, as the network saw the photograph
      json           NAME_summary.json: the labels, their pixels and shares
      geojson        NAME_polygons.geojson: every region's outline, in pixels
      coco           NAME_coco.json: a run-length encoded mask a label, as pycocotools reads it
    and with --stages NAME_stages.png, what each stage of training made of it, side by side. docs/output.md has a line of Python
    to read each. NAME is the file's name without its suffix; where two are alike, with it, and with its folder if need be.
    Above 50 megapixels, which are not decoded whole where that can be avoided, and of a GeoTIFF, labels are NAME_labels.tif, a
    pyramid that lies where the image does on earth: docs/huge.md. dpn tile sees images in tiles, at a scale.
    Of a clip (a video, with the extra `video`; an animated GIF, WebP or PNG; a TIFF of several pages) it writes
      labels         NAME_labels.tif: a page a frame, as above
      overlay        NAME_overlay.mp4, with the clip's sound; of a GIF NAME_overlay.gif, and so on
      json, coco     NAME_summary.json; NAME_coco.jsonl: a line a frame
    A file that cannot be read is named on stderr and left out; the exit code is 2 then.

    What is made is noted in manifest.jsonl beside it. The same command goes on where it was stopped, and makes again what has
    changed: the photograph, the model, or an option that matters. docs/folders.md tells of long lists and many machines.

    examples:
      dpn segment photo.jpg
      dpn segment photo.jpg holiday/ --out results --stages
      dpn segment photo.jpg --write labels geojson --model runs/mine --size 1025
      dpn segment holiday/ --json > holiday.json
      dpn segment clip.mp4 --out clip_masks.mp4     one clip into a clip; --write overlay: under its labels
      dpn segment photo.jpg --unary mine.py:net     your own network, under a new head
      dpn segment list.txt 'scans/**/*.tif' shards/*.tar s3://bucket/photographs --out s3://bucket/labels
      find . -name '*.jpg' | dpn segment - --shard 0/8        this machine's part of eight

    Args:
        images (IMAGE): photographs, clips, folders with all in them, globs, .txt lists of a path a line (- is stdin), .tar
            archives, and URLs of any of these in object stores
        out (FOLDER): where to write: a folder, or a URL in an object store; of one clip also a file, .mp4, .gif, ...
        write: what to write of each
        model (MODEL): a shipped name, the folder of a training run, a safetensors file, or a Hugging Face hub id (default: voc)
        unary (NETWORK): what makes the network that the model, or a new head, is over: package.module:function,
            file.py:function or file.onnx. It is imported and run
        stages: also draw what each stage of training made of it
        size (PIXELS): the longer side at which the network sees a photograph; a smaller one is not enlarged
        device (DEVICE): where to compute: cpu, cuda, cuda:1, mps; auto is CUDA where there is one
        json: print what was found, in which files it is and how long the network took as JSON, not as a table
        shard (I/N): do the part I, from 0, of N parts of the list; the same command without it then prints the whole summary
        engine: what computes: this process, or actors of Ray on the cluster that RAY_ADDRESS names, or on this machine's cores
        workers (N): how many actors Ray has (default: one a GPU, or a core)
        anew: make all again, also what is made and has not changed

    Raises:
        InputError: if the model cannot be read, the size is below 1, the device or the part is not there, another run is at
            work in `out`, it cannot be written, or a photograph would be written over.
    """
    started = perf_counter()
    if Path(out).suffix.lower() in FILMS and not is_url(str(out)) and not Path(out).is_dir():
        if len(images) > 1 or is_url(str(images[0])) or Path(images[0]).suffix.lower() not in FILMS:
            raise InputError(f"{out}: a clip, which is made of one clip alone; choose a folder")
        if list(write) not in (list(USUAL), ["labels"], ["overlay"]) or stages or shard or engine == "ray":
            raise InputError(f"{out}: a clip of the labels, or with --write overlay of both; for more choose a folder")
        kind: Write = "overlay" if list(write) == ["overlay"] else "masks"
        opened: dict[str, Any] = {"model": model, "unary": unary, "size": size, "device": device, "json": json}
        return segment_clip(Path(local(str(images[0]))), out=Path(local(str(out))), write=kind, **opened)
    require_whole("size", size)
    part = shard_named(shard) if shard else None
    failed: list[dict[str, str]] = []

    def tell(image: str, error: InputError) -> None:
        complain(str(error))
        failed.append({"image": image, "error": str(error)})

    with closing(destination(out)) as folder:
        listed = items_of(images, tell, without=folder.path.resolve())
        model = model or (None if unary else DEFAULT_MODEL)
        order = Order(model, unary, stages, size, write, str(out), device)
        work = order.work(folder)
        _refuse_to_write_over(listed, folder, work.files(listed))
        items = part.of(listed) if part else listed
        code, ended, before, number, labels, records = 0, "", 0, 0, list[Record](), list[Record]()
        roads = set[Road]()
        few = json or len(items) <= ROWS
        if items:
            about = made_with(model, unary, size)
            on = partial(on_ray, order, workers) if engine == "ray" else partial(here, work, len(listed) == 1)
            with resumed(folder, part, items, work.outputs, about, anew=anew) as (manifest, todo):
                before = len(items) - len(todo)
                try:
                    run(todo, len(todo), folder, manifest, about, lambda item, error: tell(item.shown, error), on)
                except StoppedError as error:
                    complain(str(error))
                    code = 2
                except KeyboardInterrupt as stop:
                    code, ended = code_of(stop), told(stop)
                made = made_of(manifest.records(), items, roads)
                records = told_of(made, items, folder, work.outputs(items[0])) if few else []
                number, labels = over_all(records if few else made)
        if ended:
            complain(f"{ended}: {number} of {len(items)} photographs are made; the same command goes on from there")
        if json:
            about = {"model": model, "unary": unary, "stage": list(work.networks.values())[-1].stage, "size": size}
            found = {"labels": labels, "images": records, "failed": failed, "seconds": perf_counter() - started}
            print(dumps(about | {"device": str(device_named(device))} | found, indent=1))
        elif number or part:
            if few:
                print_rows(records)
            else:
                print_labels(labels)
            what = "photographs and clips" if "clip" in roads else "photographs"
            written = written_as(roads or {"photograph"}, write, stages)
            already = f"; {before} of them were there already" if before else ""
            line = f"{number} of {len(items)} {what}, in {folder.shown}: {written}{already}"
            console().print(line, soft_wrap=True)
    return code or (2 if failed else 0)


def _refuse_to_write_over(items: Iterable[Item], folder: Folder, files: Iterable[str]) -> None:
    photographs = {item.input if item.system else str(Path(item.path).resolve()) for item in items}
    home = folder.shown.rstrip("/") if is_url(folder.shown) else folder.path.resolve()
    if lost := photographs & {f"{home}/{file}" for file in files}:
        raise InputError(f"{min(lost)}: a photograph that would be written over; choose another --out")


def demo(*, out: Path = Path("results/demo"), device: str = "auto") -> int:
    """Segment scikit-image's astronaut, cat and motorcycle with the shipped network.

    Prints what was found and where the pictures are; see dpn segment --help for what they show.

    examples:
      dpn demo
      dpn demo --out somewhere/else

    Args:
        out (FOLDER): where to write
        device (DEVICE): where to compute, as dpn segment takes it
    """
    folder = out / "photographs"
    folder.mkdir(parents=True, exist_ok=True)
    for name in PHOTOGRAPHS:
        with written_whole(folder / f"{name}.png") as temporary:
            Image.fromarray(photograph(name)).save(temporary)
    return segment_photographs([folder], out=out, stages=True, device=device)

"""The page: what stands on it, and what happens when something is moved. gradio draws it."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from time import time
from typing import Any

import gradio as gr
from PIL import Image

from dpn.app.look import Knobs, Look, photograph, refined, small, with_mask
from dpn.app.viewer import viewer
from dpn.data import PHOTOGRAPHS
from dpn.data import photograph as sample
from dpn.errors import InputError
from dpn.http.images import checked_pixels
from dpn.http.passage import Refusal
from dpn.inference.segmentation import Kind
from dpn.model import DPN, TITLES

TITLE = """<div class="dpn-title"><h1>Deep Parsing Network</h1>
<p>A network says what each pixel looks like; one learned mean-field step says what it can be among its neighbours.
Drag the divider to compare; point at a pixel for its probabilities.</p></div>"""
EMPTY = '<div class="dpn-empty">Drop a photograph on the left, or choose one below it.</div>'
FOLDER = tempfile.TemporaryDirectory(prefix="dpn-app-", dir=Path(tempfile.gettempdir()).resolve())
"""Where files lie until the page is stopped."""

FILES_OF_GRADIO = Path(FOLDER.name, "gradio")
"""What was sent, and copies of what is to be downloaded: all that gradio lets anybody read."""

SAMPLES = Path(FOLDER.name, "samples")
"""Photographs to try."""

os.environ["GRADIO_TEMP_DIR"] = str(FILES_OF_GRADIO)

HOUR = 3600  # seconds, after which files are deleted

MAX_MEGAPIXELS = 50
"""Of a photograph or a mask, in 10^6 pixels."""

FILES: tuple[Kind, ...] = ("labels", "overlay", "json")
"""What can be downloaded, of what Segmentation.save writes."""


def page(networks: Mapping[str, DPN]) -> gr.Blocks:
    """The page for a network at the stages of its training, {stage: network}, in order."""
    titled = {TITLES[stage]: network for stage, network in networks.items()}
    first = {title: network for title, network in titled.items() if network.stage != "unary"}
    start = Knobs.of(*[(title, network.mrf) for title, network in first.items()][-1])
    with gr.Blocks(title="Deep Parsing Network", analytics_enabled=False, fill_width=True, delete_cache=(HOUR, HOUR)) as blocks:
        gr.HTML(TITLE)
        look = gr.State(None)
        with gr.Row(elem_id="layout"):
            with gr.Column(elem_id="given"):
                photo = gr.Image(
                    type="filepath", image_mode=None, label="Photograph", sources=["upload", "clipboard"], height=220,
                    elem_id="photo", buttons=[]
                )  # fmt: skip
                _take_what_was_sent(photo)
                photo.preprocess = _file  # whatever is in it, so that `photograph` may say what is wrong
                gr.Examples([[path] for path in _samples()], [photo], label="Or one of these", elem_id="examples")
                with gr.Accordion("A coarse mask of your own", open=False):
                    mask = gr.File(label="PNG of labels or colours", file_types=["image"], height=110, elem_id="mask")
                    _take_what_was_sent(mask)
                    gr.Markdown("A new head sharpens it along the photograph's edges; no network is asked.")
            with gr.Column(elem_id="found"):
                view = gr.HTML(EMPTY, elem_id="view")
                opacity = gr.Slider(0, 1, 0.55, step=0.05, label="Opacity (0: outlines alone)", elem_id="opacity")
                with gr.Row():
                    downloads = [
                        gr.DownloadButton(label, interactive=False, size="md", elem_id=f"download-{kind}")
                        for kind, label in zip(FILES, ("Mask (PNG)", "Overlay (PNG)", "Labels (JSON)"), strict=True)
                    ]
            with gr.Column(elem_id="knobs"):
                head = gr.Checkbox(True, label="Head on (b12 to b15)", elem_id="head")
                stage = gr.Radio(list(first), value=start.head, label="Stage of training", elem_id="stage")
                sigma_color = gr.Slider(0.005, 0.2, start.sigma_color, step=0.005, label="Width in colour", elem_id="color")
                sigma_space = gr.Slider(1, 100, start.sigma_space, step=1, label="Width in space, pixels", elem_id="space")
                window = gr.Slider(1, 101, start.window, step=1, label="Window, pixels", elem_id="window")
                penalty = gr.Slider(0, 10, start.penalty, step=0.1, label="Penalty of unlike neighbours", elem_id="penalty")
                trained = gr.Button("As trained", size="sm", elem_id="trained")
        moved = [stage, sigma_color, sigma_space, window, penalty]
        shown: dict[str, Any] = {"inputs": [look, head, *moved, opacity], "outputs": view, "show_progress": "hidden"}
        written: dict[str, Any] = {"inputs": [look, head, *moved], "outputs": downloads, "show_progress": "hidden"}
        for new in (photo, mask):
            event = new.change(_opened(titled), [photo, mask], [look, *moved], show_progress="minimal", show_progress_on=view)
            event.success(_shown, **shown).success(_written, **written)
        for knob in (sigma_color, sigma_space, window, penalty, opacity):
            knob.input(_shown, trigger_mode="always_last", **shown)
            knob.release(_written, **written)
        head.input(_shown, **shown).success(_written, **written)
        for chosen in (stage.input, trained.click):
            as_trained = chosen(_trained, [look, stage], moved, show_progress="hidden")
            as_trained.success(_shown, **shown).success(_written, **written)
    return blocks


def _opened(networks: Mapping[str, DPN]) -> Any:
    """What happens when a photograph or a mask comes, or goes."""

    def opened(photo: str | None, mask: str | None) -> list[Any]:
        if photo is None:
            return [None, *(gr.skip() for _ in astuple(Knobs("", 0, 0, 0, 0)))]
        try:
            for path in (photo, mask):
                _check(path)
            look = with_mask(photo, mask) if mask else photograph(photo, networks)
        except InputError as error:
            raise gr.Error(str(error).replace(str(Path(photo).parent) + "/", ""), print_exception=False) from error
        names = list(look.heads)
        _, *numbers = astuple(Knobs.of(names[-1], look.heads[names[-1]]))
        return [look, gr.update(choices=names, value=names[-1]), *numbers]

    return opened


def _check(path: str | None) -> None:
    """Raises InputError where a file is no image, or has too many pixels."""
    if path:
        try:
            checked_pixels(Path(path).read_bytes(), MAX_MEGAPIXELS, Path(path).name)
        except Refusal as error:
            raise InputError(error.message) from None


def _take_what_was_sent(component: Any) -> None:
    """Has a component take files that were sent, and the samples: a question may name any path, and a URL, which is fetched.

    A folder that gradio took would end its hourly deletion of files, at which it stumbles.
    """
    keep = component.async_move_resource_to_block_cache

    async def kept(path: Any) -> Any:
        if path is not None and not _was_sent(Path(path)):
            raise gr.Error("only a file that was sent can be opened", print_exception=False)
        return await keep(path)

    component.async_move_resource_to_block_cache = kept


def _was_sent(path: Path) -> bool:
    return path.is_file() and any(path.resolve().is_relative_to(each) for each in (FILES_OF_GRADIO, SAMPLES))


def _file(given: Any) -> str | None:
    """The file that an image component was given."""
    return None if given is None else str(given.path)


def _trained(look: Look | None, name: str) -> list[Any]:
    """The knobs as a head was trained."""
    if look is None:
        return [gr.skip()] * 5
    return list(astuple(Knobs.of(name, look.heads[name])))


def _shown(look: Look | None, on: bool, *moved: Any) -> str:
    """The picture."""
    if look is None:
        return EMPTY
    *knobs, opacity = moved
    before, after = refined(look, None), refined(look, Knobs(*knobs) if on else None)
    titles = ("mask" if len(look.heads) == 1 and "new MRF" in look.heads else "unary", knobs[0] if on else "head off")
    return viewer(small(look, before), small(look, after), titles, look.palette, opacity)


def _written(look: Look | None, on: bool, *knobs: Any) -> list[Any]:
    """The files to download, at the photograph's own size."""
    if look is None:
        return [gr.update(value=None, interactive=False) for _ in FILES]
    for old in Path(FOLDER.name).glob("made-*"):
        if old.stat().st_mtime < time() - HOUR:
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(FOLDER.name, f"made-{id(look)}")  # of each photograph what was written last
    paths = refined(look, Knobs(*knobs) if on else None).save(folder, Path(look.source).stem, FILES)
    return [gr.update(value=str(path), interactive=True) for path in paths]


def _samples() -> list[str]:
    """Photographs to try, as files."""
    SAMPLES.mkdir(exist_ok=True)
    for name in PHOTOGRAPHS:
        Image.fromarray(sample(name)).save(SAMPLES / f"{name}.jpg", quality=95)
    return [str(SAMPLES / f"{name}.jpg") for name in PHOTOGRAPHS]

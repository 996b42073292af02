"""The files that people take a segmentation away in: a kind, a function."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dpn.errors import InputError
from dpn.files import written_whole
from dpn.inference.polygons import objects
from dpn.inference.rle import rle
from dpn.inference.segmentation import Kind, Segmentation


def written(found: Segmentation, folder: Path, name: str, kinds: Sequence[Kind]) -> tuple[Path, ...]:
    """What `Segmentation.save` does."""
    if unknown := [kind for kind in kinds if kind not in WRITERS]:
        raise InputError(f"no output is called {unknown[0]!r}; choose of {', '.join(WRITERS)}")
    paths = tuple(output(folder, name, kind) for kind in kinds)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder ({error.strerror}); choose another place") from error
    for kind, path in zip(kinds, paths, strict=True):
        WRITERS[kind][1](found, path)
    return paths


def output(folder: Path, name: str, kind: Kind) -> Path:
    """Where `written` puts a kind.

    Example:
        >>> output(Path("results"), "cat", "labels").as_posix()
        'results/cat_labels.png'
    """
    return folder / f"{name}{WRITERS[kind][0]}"


def feature_collection(found: Segmentation) -> dict[str, Any]:
    """What `Segmentation.polygons` returns."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": rings},
            "properties": {"label": label, "name": found.names[label], "pixels": round(sum(map(_area, rings)))},
        }
        for label, rings in objects(found.labels)
    ]
    return {"type": "FeatureCollection", "features": features}


def coco(found: Segmentation) -> dict[str, Any]:
    """COCO's annotations of one image: a mask for each label that is there, whose number is its category's."""
    height, width = found.labels.shape
    annotations: list[dict[str, Any]] = []
    for label in np.unique(found.labels).tolist():
        region = found.labels == label
        rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
        left, top = columns[0].item(), rows[0].item()
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": 1,
                "category_id": label,
                "segmentation": rle(region),
                "area": int(region.sum()),
                "bbox": [left, top, columns[-1].item() + 1 - left, rows[-1].item() + 1 - top],
                "iscrowd": 0,
            }
        )
    return {
        "images": [{"id": 1, "file_name": Path(found.source).name, "width": width, "height": height}],
        "categories": [{"id": label, "name": name} for label, name in enumerate(found.names)],
        "annotations": annotations,
    }


def _labels(found: Segmentation, path: Path) -> None:
    from dpn.plots.colours import palette_of, save_mask

    save_mask(path, found.labels, palette_of(found.names))


def _overlay(found: Segmentation, path: Path) -> None:
    picture = Image.fromarray(found.overlay())
    with written_whole(path) as temporary:
        picture.save(temporary, compress_level=1)  # a quarter of the usual level's time, for 7 % more bytes


def save_probabilities(found: Segmentation, path: Path, size: tuple[int, int] | None = None) -> None:
    """Writes an .npz of them; `size` is the photograph's, (H,W), where its segmentation's image is smaller."""
    with written_whole(path) as temporary, temporary.open("wb") as file:
        seen, size = found.seen.astype(np.float16), size or found.image.shape[:2]
        np.savez_compressed(file, probabilities=seen, names=np.array(found.names), size=size)


def _json(content: Callable[[Segmentation], dict[str, Any]]) -> Callable[[Segmentation, Path], None]:
    def write(found: Segmentation, path: Path) -> None:
        text = json.dumps(content(found))
        with written_whole(path) as temporary:
            temporary.write_text(text)

    return write


WRITERS: dict[Kind, tuple[str, Callable[[Segmentation, Path], None]]] = {
    "labels": ("_labels.png", _labels),
    "overlay": ("_overlay.png", _overlay),
    "probabilities": ("_probabilities.npz", save_probabilities),
    "json": ("_summary.json", _json(Segmentation.summary)),
    "geojson": ("_polygons.geojson", _json(feature_collection)),
    "coco": ("_coco.json", _json(coco)),
}
"""{kind: (how its file's name ends, what writes it)}; no ending ends as another does, so that all names differ."""


def _area(ring: Sequence[tuple[int, int]]) -> float:
    """The area within a ring that turns as outer rings do; less it for one that turns as holes do."""
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2

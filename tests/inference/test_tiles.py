"""Images of any size: windows are what the whole has there, tiles give what the whole gives, others read the file."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import nn

from dpn import DPN, MRF, InputError, save, segment, segment_in_tiles
from dpn.cli import main
from dpn.data import photograph, read_image, to_tensor, voc_palette
from dpn.inference import tiffs
from dpn.inference.pyramids import georeference_of, write_pyramid
from dpn.inference.rasters import Box, Held, Size, open_raster
from dpn.inference.tiles import Known, Refined, Scores, over_finer_pixels, rows_of_tiles
from dpn.stopping import TerminatedError
from dpn.unary import MobileNetV2Pyramid, Wrap

BOX = Box(37, 90, 150, 260)


def rgb(height: int = 300, width: int = 451) -> np.ndarray:
    return np.array(Image.fromarray(photograph("cat")).resize((width, height)))


@pytest.fixture
def small() -> DPN:
    """A fully convolutional network that sees 6 pixels on each side, under a head."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 3, 5, padding=2)]
    head = MRF(3, window=9, context=3, absent_below=0.0)
    return DPN(Wrap(nn.Sequential(*layers), labels=3), head, labels=["sky", "sea", "sand"]).eval()


WRITTEN: dict[str, Callable[[Path, np.ndarray], None]] = {
    "tiles": lambda path, pixels: tifffile.imwrite(path, pixels, tile=(64, 48), photometric="rgb"),
    "deflated tiles": lambda path, pixels: tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", compression="zlib"),
    "predicted": lambda path, pixels: tifffile.imwrite(
        path, pixels, tile=(64, 64), photometric="rgb", compression="zlib", predictor=True
    ),
    "strips": lambda path, pixels: tifffile.imwrite(path, pixels, rowsperstrip=7, photometric="rgb", compression="zlib"),
    "one strip": lambda path, pixels: tifffile.imwrite(path, pixels, photometric="rgb"),
    "planes": lambda path, pixels: tifffile.imwrite(
        path, pixels.transpose(2, 0, 1), tile=(64, 64), photometric="rgb", planarconfig="separate"
    ),
    "planes in strips": lambda path, pixels: tifffile.imwrite(
        path, pixels.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"
    ),
    "BigTIFF": lambda path, pixels: tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", bigtiff=True),
    "big endian": lambda path, pixels: tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", byteorder=">"),
    "OME": lambda path, pixels: tifffile.imwrite(path, pixels, tile=(64, 64), photometric="rgb", ome=True),
    "Pillow's": lambda path, pixels: Image.fromarray(pixels).save(path),
    "PNG": lambda path, pixels: Image.fromarray(pixels).save(path, format="PNG"),
}


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.parametrize("size", [Size(300, 451), Size(111, 170), Size(431, 600)])
def test_a_window_is_what_the_whole_has_there(tmp_path: Path, kind: str, size: Size) -> None:
    box = BOX if size.height > 200 else Box(20, 0, 111, 101)
    path = tmp_path / "image.tif"
    WRITTEN[kind](path, rgb())
    whole = np.asarray(Image.fromarray(rgb()).resize((size.width, size.height), Image.Resampling.BILINEAR))
    with open_raster(path) as raster, patch("dpn.inference.rasters.AT_ONCE", 4000):
        assert raster.size == (300, 451)
        found = raster.window(box, size).astype(int)
    error = np.abs(found - whole[box.top : box.bottom, box.left : box.right])
    assert error.max() <= (size != (300, 451)) and error.mean() < 0.01  # Pillow takes corners as float32


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_decoded_as_small_as_it_is_seen(tmp_path: Path, mode: str, orientation: int) -> None:
    path, exif = tmp_path / "image.jpg", Image.Exif()
    exif[274] = orientation
    picture = Image.fromarray(rgb()).resize((902, 600)).convert(mode)
    picture.save(path, quality=95, exif=exif)
    upright = Image.fromarray(read_image(path))
    size, box = Size(*(side // 9 for side in upright.size[::-1])), Box(10, 20, 60, 60)
    with open_raster(path) as raster:
        assert raster.size == upright.size[::-1]
        found = raster.window(box, size).astype(int)
        assert raster.decoded[1].size == tuple(-(-side // 4) for side in upright.size)
        assert (raster.window(box) == np.asarray(upright)[10:60, 20:60]).all()
    whole = np.asarray(upright.resize(size[::-1], Image.Resampling.BILINEAR))[10:60, 20:60]
    assert np.abs(found - whole).mean() < 2


@pytest.mark.parametrize("compression", ["lzw", "jpeg", "jpeg2000", "zstd"])
def test_the_codecs_of_slides_and_maps(tmp_path: Path, compression: str) -> None:
    pytest.importorskip("imagecodecs")
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, rgb(), tile=(64, 64), photometric="rgb", compression=compression)
    with open_raster(path) as raster:
        found = raster.window(BOX).astype(int)
    assert np.abs(found - rgb()[BOX.top : BOX.bottom, BOX.left : BOX.right]).mean() < 4


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_other_tiffs_are_read_as_photographs_are(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.tif"
    if mode == "I;16":
        Image.fromarray(rgb()[..., 0].astype(np.uint16) * 257).save(path)
    else:
        picture = Image.fromarray(rgb()).convert(mode)
        if mode in ("LA", "RGBA"):
            picture.putalpha(Image.fromarray(rgb()[..., 1]))
        picture.save(path)
    with open_raster(path) as raster:
        found = raster.window(BOX).astype(int)
    assert np.abs(found - read_image(path)[BOX.top : BOX.bottom, BOX.left : BOX.right]).max() <= 1


def test_a_turned_tiff_is_upright(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", rgb(), photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    with open_raster(tmp_path / "image.tif") as raster:
        assert raster.size == (451, 300)


def test_an_image_beyond_the_limit_is_told_both_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPN_MAX_MEGAPIXELS", "0.001")
    Image.new("L", (64, 32)).save(tmp_path / "image.png")
    with pytest.raises(
        InputError, match=r"64 x 32 pixels; scale it down, or raise DPN_MAX_MEGAPIXELS=0\.001, or save it as a tiled"
    ):
        open_raster(tmp_path / "image.png")


def test_channels_beyond_rgb_that_are_no_transparency_are_left_out(tmp_path: Path) -> None:
    four = np.dstack([rgb(), rgb()[..., :1]])
    tifffile.imwrite(tmp_path / "image.tif", four, photometric="rgb", extrasamples=["unspecified"])
    with open_raster(tmp_path / "image.tif") as raster:
        assert np.array_equal(raster.window(BOX), rgb()[BOX.top : BOX.bottom, BOX.left : BOX.right])


@pytest.mark.parametrize("beside", [False, True], ids=["sub-levels", "pages beside it"])
def test_the_level_of_a_pyramid_that_serves_is_read(tmp_path: Path, beside: bool) -> None:
    path, half, quarter = tmp_path / "slide.tif", np.full((256, 256, 3), 50, np.uint8), np.full((128, 128, 3), 90, np.uint8)
    with tifffile.TiffWriter(path) as writer:
        options = {"tile": (64, 64), "photometric": "rgb", "metadata": None}
        writer.write(np.full((512, 512, 3), 10, np.uint8), subifds=0 if beside else 2, **options)
        for level in (half, quarter):
            writer.write(level, subfiletype=1, **options)
    with open_raster(path) as raster:
        assert raster.levels == ((512, 512), (256, 256), (128, 128))
        sizes = {512: 10, 300: 10, 256: 50, 200: 50, 128: 90, 20: 90}
        assert {side: raster.window(Box(0, 0, 9, 9), Size(side, side)).max() for side in sizes} == sizes


def test_decoded_tiles_are_kept_within_bounds(tmp_path: Path) -> None:
    WRITTEN["deflated tiles"](tmp_path / "image.tif", rgb())
    with open_raster(tmp_path / "image.tif") as raster, patch.object(tiffs, "KEPT_TILES", 3 * 64 * 64 * 3):
        assert isinstance(raster, tiffs.Tiff)
        raster.window(Box(0, 0, 300, 451))
        assert len(raster.kept) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"window": 9, "context": 3},
        {"window": 12, "window_stride": 3, "context": 5, "context_dilation": 4, "blur": 1},
        {"window": 9, "context": 3, "context_dilation": 8, "context_stride": 8, "components": 1},
        {"window": 8, "context": 3, "iterations": 2},
        {"window": 9, "context": 1, "smoothness": 1.0},
    ],
)
def test_a_head_in_tiles_is_the_head(options: dict[str, int]) -> None:
    torch.manual_seed(1)
    mrf = MRF(3, absent_below=0.0, **options).eval()
    with torch.no_grad():
        mrf.label_contexts.deviation.normal_(std=0.5)
    pixels = rgb(171, 230)
    log_p = torch.nn.functional.interpolate(torch.randn(1, 3, 43, 58) * 2, (171, 230), mode="bilinear").log_softmax(1)
    with torch.inference_mode():
        whole = mrf(log_p, to_tensor(pixels)[None])[0]
        tiled = Refined(mrf, Known(log_p[0]), Held(pixels), Size(171, 230))
        for box in chain.from_iterable(rows_of_tiles(tiled.size, 64, tiled.size)):
            np.testing.assert_allclose(tiled.window(box), whole[:, box.top : box.bottom, box.left : box.right], atol=2e-5)


def test_scores_in_tiles_are_the_network_s_where_it_sees_no_further_than_half_the_halo(small: DPN, tmp_path: Path) -> None:
    pixels = rgb(171, 230)
    with torch.inference_mode():
        whole = small.unary(to_tensor(pixels)[None])[0]
        scores = Scores(small.unary, Held(pixels), Size(171, 230), tile=64, halo=32, folder=tmp_path, kind=np.float32)
        for box in (*chain.from_iterable(rows_of_tiles(scores.size, 50, scores.size)), Box(0, 0, 171, 230)):
            np.testing.assert_allclose(scores.window(box), whole[:, box.top : box.bottom, box.left : box.right], atol=1e-5)


def test_files_of_scores_go_when_the_tiles_are_passed(small: DPN, tmp_path: Path) -> None:
    with torch.inference_mode():
        scores = Scores(small.unary, Held(rgb()), Size(300, 451), tile=64, halo=32, folder=tmp_path)
        most = 0
        for box in chain.from_iterable(rows_of_tiles(scores.size, 64, scores.size)):
            scores.window(box)
            most = max(most, len(list(tmp_path.iterdir())))
    assert most <= 3 * 8


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_labels_in_tiles_are_those_of_the_whole(small: DPN, tmp_path: Path, scale: float) -> None:
    Image.fromarray(rgb(400, 500)).save(tmp_path / "image.tif")
    told = segment_in_tiles(tmp_path / "image.tif", tmp_path / "labels.tif", small, scale=scale, tile=64, halo=32, full=True)
    labels, whole = (
        np.asarray(Image.open(tmp_path / "labels.tif")),
        segment(tmp_path / "image.tif", small, size=int(500 * scale)),
    )
    assert labels.shape == (400, 500)
    assert (labels != whole.labels).mean() < 1e-3  # scores are kept in half precision
    expected = whole.summary()
    assert told["image"] == expected["image"] and told["width"] == 500 and told["scale"] == scale and told["labels_scale"] == 1
    assert [each["name"] for each in told["labels"]] == [each["name"] for each in expected["labels"]]
    counts = np.bincount(labels.ravel(), minlength=3)
    assert {each["label"]: each["pixels"] for each in told["labels"]} == {u: n for u, n in enumerate(counts.tolist()) if n}


def test_no_seam_shows_where_the_network_pools_over_all_it_sees(tmp_path: Path) -> None:
    """Though pooling differs from tile to tile, scores jump at no border more than beside it, and labels are the whole's."""
    torch.manual_seed(0)
    network = DPN(MobileNetV2Pyramid(labels=3).frozen(), MRF(3, window=5, context=3), stage="unary").eval()
    with torch.no_grad():
        network.unary.score.weight.normal_(std=3.0)
    pixels = rgb(384, 512)
    with torch.inference_mode():
        scores = Scores(network.unary, Held(pixels), Size(384, 512), tile=128, halo=64, folder=tmp_path)
        tiled, whole = scores.window(Box(0, 0, 384, 512)), network.unary(to_tensor(pixels)[None])[0]
    borders = torch.tensor([127, 255, 383])
    near = torch.cat([borders + offset for offset in (*range(-12, -3), *range(4, 12))])
    jumps = tiled.diff(dim=2).abs().mean((0, 1))
    assert jumps[borders].mean() < 1.1 * jumps[near].mean()
    differ = (tiled.argmax(0) != whole.argmax(0)).float().mean(0)
    at_borders = torch.cat([borders + offset for offset in range(-3, 5)])
    assert 0 < differ.mean() < 0.005 and differ[at_borders].mean() < 0.005


def test_outlines_are_those_of_the_head_s_resolution(small: DPN, tmp_path: Path) -> None:
    Image.fromarray(rgb(300, 400)).save(tmp_path / "image.png")
    for sharp, size in ((1, (100, 75)), (2, (200, 150)), (9, (400, 300))):
        told = segment_in_tiles(
            tmp_path / "image.png", tmp_path / "labels.tif", small, scale=0.25, sharp=sharp, tile=64, halo=32
        )
        assert (told["width"], told["height"]) == Image.open(tmp_path / "labels.tif").size == size


def test_over_finer_pixels_a_head_s_distances_are_as_long_on_the_image() -> None:
    mrf = MRF(3, window=9, context=3, context_dilation=4, context_stride=2, blur=1, smoothness=0.5)
    with torch.no_grad():
        mrf.triple_penalty.log_sigma_space.fill_(np.log(7))
        mrf.label_contexts.deviation.normal_()
    finer = over_finer_pixels(mrf, 3)
    assert (finer.config.window, finer.config.context_dilation, finer.config.context_stride, finer.config.blur) == (
        27,
        12,
        6,
        9,
    )
    assert finer.triple_penalty.log_sigma_space.exp().item() == pytest.approx(21)
    assert finer.triple_penalty.smoothness.log_sigma.exp().item() == pytest.approx(9)
    assert torch.equal(finer.label_contexts.deviation, mrf.label_contexts.deviation)
    assert over_finer_pixels(mrf, 1) is mrf


def test_a_pyramid_of_labels_is_one_for_all_readers(tmp_path: Path) -> None:
    labels, path = np.random.default_rng(0).integers(0, 21, (1300, 1100), dtype=np.uint8), tmp_path / "labels.tif"
    write_pyramid(path, np.split(labels, [100, 900, 901]), Size(1300, 1100), voc_palette(), {}, 0.5)
    with tifffile.TiffFile(path) as file:
        levels = file.series[0].levels
        assert [level.shape for level in levels] == [(1300, 1100), (650, 550), (325, 275)]
        for level, each in enumerate(levels):
            step = 2**level
            assert np.array_equal(each.asarray(), labels[::step, ::step]) and each.keyframe.is_tiled
        assert file.pages[0].resolution == (20000, 20000) and file.pages[0].resolutionunit == 3
    picture = Image.open(path)
    assert np.array_equal(np.asarray(picture), labels)
    assert np.array_equal(np.array(picture.getpalette()).reshape(-1, 3), voc_palette())


def test_more_labels_than_colours_are_grey_of_16_bits(tmp_path: Path) -> None:
    write_pyramid(tmp_path / "labels.tif", [np.full((3, 5), 300)], Size(3, 5), voc_palette(301), {}, None)
    assert np.asarray(Image.open(tmp_path / "labels.tif")).tolist() == [[300] * 5] * 3


@pytest.mark.parametrize("raster_type", [1, 2], ids=["areas", "points"])
def test_labels_lie_where_the_image_does_on_earth(small: DPN, tmp_path: Path, raster_type: int) -> None:
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, raster_type, 3072, 0, 1, 32633)
    place = [(33550, 12, 3, (0.5, 0.5, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 400000.0, 5800000.0, 0.0), True)]
    tifffile.imwrite(tmp_path / "map.tif", rgb(200, 300), photometric="rgb", extratags=[*place, (34735, 3, 16, keys, True)])
    told = segment_in_tiles(tmp_path / "map.tif", tmp_path / "labels.tif", small, pixel=1.0, tile=64, halo=32)
    assert told["scale"] == 0.5
    with tifffile.TiffFile(tmp_path / "labels.tif") as file:
        assert file.pages[0].tags[33550].value == (1.0, 1.0, 0.0) and file.pages[0].tags[34735].value == keys
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(tmp_path / "map.tif") as image, rasterio.open(tmp_path / "labels.tif") as labels:
        assert labels.crs == image.crs == rasterio.CRS.from_epsg(32633)
        np.testing.assert_allclose(labels.bounds, image.bounds)


@pytest.mark.parametrize("compress", ["JPEG", "DEFLATE", "LZW"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_cloud_optimised_geotiff_of_gdal_s(tmp_path: Path, compress: str, turned: bool) -> None:
    rasterio = pytest.importorskip("rasterio")
    pytest.importorskip("imagecodecs")
    placed = (
        rasterio.Affine(0.4, 0.3, 400000, 0.3, -0.4, 5800000) if turned else rasterio.Affine(0.5, 0, 400000, 0, -0.5, 5800000)
    )
    about = {"width": 1100, "height": 800, "count": 3, "dtype": "uint8", "crs": "EPSG:32633", "transform": placed}
    with rasterio.open(tmp_path / "map.tif", "w", driver="COG", compress=compress, **about) as file:
        file.write(rgb(800, 1100).transpose(2, 0, 1))
    with open_raster(tmp_path / "map.tif") as raster:
        assert raster.levels[:2] == ((800, 1100), (400, 550)) and raster.pixel == pytest.approx(0.5)
        assert np.abs(raster.window(BOX).astype(int) - rgb(800, 1100)[BOX.top : BOX.bottom, BOX.left : BOX.right]).mean() < 4
        labels = np.zeros((400, 550), np.uint8)
        write_pyramid(
            tmp_path / "labels.tif", [labels], Size(400, 550), voc_palette(), georeference_of(raster, Size(400, 550)), None
        )
    with rasterio.open(tmp_path / "labels.tif") as file:
        assert file.crs == rasterio.CRS.from_epsg(32633) and file.transform.almost_equals(placed @ rasterio.Affine.scale(2))


@pytest.mark.parametrize(
    "options",
    [
        {"ome": True, "metadata": {"PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 250}},
        {"description": "Aperio Image Library v11|AppMag = 40|MPP = 0.25|Left = 1", "metadata": None},
        {"resolution": (40000, 40000), "resolutionunit": "CENTIMETER"},
    ],
    ids=["OME", "Aperio", "resolution"],
)
def test_a_slide_is_seen_at_micrometres_a_pixel(small: DPN, tmp_path: Path, options: dict[str, object]) -> None:
    tifffile.imwrite(tmp_path / "slide.tif", rgb(200, 300), photometric="rgb", tile=(64, 64), **options)
    told = segment_in_tiles(tmp_path / "slide.tif", tmp_path / "labels.tif", small, pixel=0.5, tile=64, halo=32)
    assert told["scale"] == 0.5 and told["width"] == 150
    with open_raster(tmp_path / "labels.tif") as labels, tifffile.TiffFile(tmp_path / "labels.tif") as file:
        assert labels.size == (100, 150) and file.pages[0].resolution == (20000, 20000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": "labels.png"}, "ends with .tif"),
        ({"out": "image.tif"}, "would be written over"),
        ({"scale": 0.0}, "scale must be positive and finite, got 0"),
        ({"scale": np.inf}, "scale must be positive and finite, got inf"),
        ({"pixel": 0.0}, "pixel must be positive and finite, got 0"),
        ({"pixel": -1.0}, "pixel must be positive and finite, got -1"),
        ({"sharp": 0}, "sharp must be at least 1, got 0"),
        ({"sharp": 1.5}, "sharp must be a whole number, got 1.5"),
        ({"tile": 100}, "tile must be a multiple of 32 pixels, got 100"),
        ({"halo": 96}, "halo must be a multiple of 32 pixels from 0 to the tile's 64, got 96"),
        ({"pixel": 0.5}, "does not say how large its pixels are"),
        ({"image": "nowhere.tif"}, "nowhere.tif: no such file"),
        ({"image": "text.tif"}, "text.tif: not an image"),
        ({"image": "short.tif"}, "short.tif: a broken TIFF"),
        ({"image": "float.tif"}, "float.tif: pixels of float32; tiles are of 8-bit RGB or grey"),
        ({"image": "five.tif"}, "five.tif: 5 channels of MINISBLACK"),
    ],
)
def test_what_does_not_serve_is_named(small: DPN, tmp_path: Path, options: dict[str, object], message: str) -> None:
    tifffile.imwrite(tmp_path / "image.tif", rgb(70, 90), photometric="rgb", compression="zlib")
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "short.tif").write_bytes((tmp_path / "image.tif").read_bytes()[:-3000])
    tifffile.imwrite(tmp_path / "float.tif", rgb(70, 90).astype(np.float32), photometric="rgb")
    tifffile.imwrite(tmp_path / "five.tif", np.zeros((70, 90, 5), np.uint8), photometric="minisblack", planarconfig="contig")
    given = {"image": "image.tif", "out": "labels.tif", "tile": 64, "halo": 32} | options
    image, out = tmp_path / str(given.pop("image")), tmp_path / str(given.pop("out"))
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=message):
        segment_in_tiles(image, out, small, **given)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_head_without_a_window_says_that_tiles_are_not_for_it(small: DPN, tmp_path: Path) -> None:
    Image.fromarray(rgb(70, 90)).save(tmp_path / "image.png")
    whole = DPN(small.unary, MRF(3, window=None))
    with pytest.raises(InputError, match="every pixel is a neighbour"):
        segment_in_tiles(tmp_path / "image.png", tmp_path / "labels.tif", whole, tile=64, halo=32)


def test_nothing_is_left_of_labels_that_were_not_finished(tmp_path: Path) -> None:
    def bands() -> np.ndarray:
        yield np.zeros((700, 900), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pyramid(tmp_path / "labels.tif", bands(), Size(1400, 900), voc_palette(), {}, None)
    assert list(tmp_path.iterdir()) == []


def test_the_command_labels_each_image_and_names_what_it_cannot_read(
    small: DPN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(DPN(MobileNetV2Pyramid(labels=2), MRF(2, window=5, context=3), labels=["ground", "object"]), "model.safetensors")
    for name in ("a.tif", "b.png"):
        Image.fromarray(rgb(90, 120)).save(name)
    Path("c.tif").write_text("none")
    words = [
        "tile",
        "a.tif",
        "b.png",
        "c.tif",
        "--model",
        "model.safetensors",
        "--scale",
        "0.5",
        "--tile",
        "64",
        "--halo",
        "32",
    ]
    assert main([*words, "--full", "--out", "out", "--json"]) == 2
    printed, error = capsys.readouterr()
    told = json.loads(printed)
    assert error == "dpn: c.tif: not an image\n" and [each["image"] for each in told["failed"]] == ["c.tif"]
    for record in told["images"]:
        assert np.asarray(Image.open(record["files"]["labels"])).shape == (90, 120)
    assert main([*words[:2], *words[4:], "--out", "out"]) == 0
    assert "60 x 45" in capsys.readouterr().out
    Path("a.tif").rename("a_labels.tif")
    Image.fromarray(rgb(90, 120)).save("a.tif")
    assert main(["tile", "a.tif", "a_labels.tif", "--model", "model.safetensors", "--out", "."]) == 2
    assert "a_labels.tif: an image that would be written over" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "made", "code", "told"),
    [
        (RuntimeError("odd"), "2 of 3", 2, "b.png: RuntimeError: odd"),
        (MemoryError(), "2 of 3", 2, "b.png: out of memory; a smaller --tile or --scale takes less"),
        (OSError(errno.ENOSPC, "No space left"), "1 of 3", 2, "b.png: OSError: [Errno 28] No space left"),
        (TerminatedError(), "1 of 3", 143, "stopped by SIGTERM: 1 of 3 images are made"),
    ],
    ids=["library", "memory", "full", "sigterm"],
)
def test_what_is_wrong_with_one_image_stops_no_other_unless_there_is_no_room(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    made: str,
    code: int,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        Image.fromarray(rgb(8, 9)).save(f"{name}.png")

    def labelled(image: Path, *_: object, **named: object) -> dict[str, object]:
        if image.stem == "b":
            raise error
        return {"image": str(image), "width": 9, "height": 8, "labels": []}

    monkeypatch.setattr("dpn.inference.tile_command.segment_in_tiles", labelled)
    assert main(["tile", "a.png", "b.png", "c.png"]) == code
    printed, complaint = capsys.readouterr()
    assert f"{made} images" in printed and complaint == f"dpn: {told}\n"


def test_a_codec_that_is_not_there_is_named_with_its_extra(tmp_path: Path) -> None:
    Image.fromarray(rgb()).save(tmp_path / "image.tif", compression="tiff_lzw")
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from dpn.inference.rasters import Box, open_raster\n"
        f"open_raster({str(tmp_path / 'image.tif')!r}).window(Box(0, 0, 9, 9))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "InputError" in done.stderr and "its compression, LZW, needs imagecodecs: pip install" in done.stderr


def test_a_tiff_whose_strips_are_not_where_it_says_is_told_in_one_line(tmp_path: Path) -> None:
    for kind, damage in (("raw", lambda whole: whole[:-50]), ("tiff_deflate", without_rows)):
        Image.new("RGB", (40, 30)).save(tmp_path / "whole.tif", compression=kind)
        (tmp_path / "cut.tif").write_bytes(damage((tmp_path / "whole.tif").read_bytes()))
        with pytest.raises(InputError, match=r"cut.tif: a broken TIFF"), open_raster(tmp_path / "cut.tif") as raster:
            raster.window(Box(0, 0, 30, 40))


@pytest.mark.parametrize(
    ("tag", "value", "said"),
    [("ImageWidth", 2**30, ", and its size needs"), ("ImageLength", 2**30, ", and its size needs"),
     ("ImageWidth", 0, "30 x 0 pixels"), ("ImageLength", 0, "0 x 40 pixels")],
)  # fmt: skip
@pytest.mark.parametrize("how", [{"tile": (16, 16)}, {"rowsperstrip": 8, "compression": "zlib"}])
def test_a_tiff_that_claims_more_pixels_than_its_parts_hold_is_refused_before_any_is_read(
    tmp_path: Path, how: dict, tag: str, value: int, said: str
) -> None:
    path = tmp_path / "claims.tif"
    tifffile.imwrite(path, rgb(30, 40), photometric="rgb", metadata=None, **how)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[tag].overwrite(value)
    strips_of_any_width = tag == "ImageWidth" and value and "rowsperstrip" in how
    with pytest.raises(InputError, match="broken TIFF" if strips_of_any_width else f"broken TIFF .*{said}"):
        open_raster(path).window(Box(0, 0, 8, 8))


def without_rows(whole: bytes) -> bytes:
    """A little-endian TIFF whose strips have no rows: RowsPerStrip, whose value lies 8 bytes behind the tag, is 0."""
    at = next(at for at in range(10, len(whole)) if whole[at : at + 2] == b"\x16\x01" and whole[at + 3] == 0)
    return whole[: at + 8] + bytes(4) + whole[at + 12 :]


def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path) -> None:
    for name in ("pipe.tif", "pipe.jpg"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match=rf"{name}: a pipe or a device where an image file is needed"):
            open_raster(tmp_path / name)

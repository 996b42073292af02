"""Outlines of labelme and CVAT, painted."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dpn.data import folder
from dpn.data.folder import open_folder
from dpn.data.painted import found_image, outline
from dpn.errors import InputError

SIZE = (6, 8)
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAkAAAAJAQAAAADI6ju9AAAAEElEQVR4nGP838jEwIAVAQAnjQGSG4557gAAAABJRU5ErkJggg=="  # 9 x 9 pixels
SQUARE = [[1, 1], [4, 1], [4, 4], [1, 4]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "images" / "a.jpg")
    return tmp_path


def labelme(root: Path, *shapes: dict, **others: object) -> Path:
    about = {"imagePath": "a.jpg", "imageHeight": 6, "imageWidth": 8, "shapes": shapes} | others
    (root / "images" / "a.json").write_text(json.dumps(about), encoding="utf-8")
    return root


def cvat(root: Path, *shapes: str, head: str = "") -> Path:
    image = f'<image id="0" name="a.jpg" width="8" height="6">{"".join(shapes)}</image>'
    (root / "annotations.xml").write_text(f"{head}<annotations><version>1.1</version>{image}</annotations>", encoding="utf-8")
    return root


def test_an_outline_holds_the_pixels_whose_centres_it_holds() -> None:
    inside = outline([[1.6, 0], [5, 0], [5, 3.4], [1.6, 3.4]], SIZE)
    expected = np.zeros(SIZE, bool)
    expected[:3, 2:5] = True
    assert (inside == expected).all()


@pytest.mark.parametrize("points", [[], [[1, 1]], [[1, 1], [5, 5]]])
def test_fewer_than_three_corners_hold_nothing(points: list) -> None:
    assert not outline(points, SIZE).any()


def test_an_outline_beyond_the_image_is_cut_off() -> None:
    assert outline([[-9, -9], [99, -9], [99, 99], [-9, 99]], SIZE).all()


@pytest.mark.parametrize(
    "points", [[[1, 2, 3], [1, 2], [3, 4]], [["x", 1], [2, 3], [4, 5]], [[float("nan"), 1], [2, 3], [4, 5]]]
)
def test_corners_that_are_no_numbers_are_refused(points: list) -> None:
    with pytest.raises(InputError, match="a corner of an outline is not two numbers"):
        outline(points, SIZE)


def test_labelme_s_later_shapes_lie_over_earlier_ones_and_ignored_ones_are_void(root: Path) -> None:
    labelme(
        root,
        {"label": "road[/]", "points": SQUARE, "shape_type": "polygon"},
        {"label": "Straße", "points": [[2, 2], [3, 3]], "shape_type": "rectangle"},
        {"label": "__ignore__", "points": [[6, 0], [8, 6]], "shape_type": "rectangle"},
        {"label": "a line", "points": [[0, 0], [8, 6]], "shape_type": "linestrip"},
    )
    data = folder(root)
    expected = torch.zeros(SIZE, dtype=torch.long)
    expected[1:4, 1:4], expected[2, 2], expected[:, 6:] = 2, 1, 255
    assert data.labels == ("background", "Straße", "road[/]")
    assert torch.equal(data[0].labels, expected)


@pytest.mark.parametrize("kind", ["rectangle", "oriented_rectangle", "rotation", "quadrilateral"])
def test_labelme_s_rectangles_of_four_points_are_polygons(root: Path, kind: str) -> None:
    corners = [[4, 0], [7, 3], [4, 6], [1, 3]]
    labels = folder(labelme(root, {"label": "x", "points": corners, "shape_type": kind}))[0].labels
    assert (labels.numpy() == outline(corners, SIZE)).all() and labels.sum() == 24


def test_images_with_outlines_may_have_any_suffix_and_path(root: Path) -> None:
    (root / "images" / "a.jpg").rename(root / "images" / "a.jfif")
    labelme(root, {"label": "x", "points": SQUARE}, imagePath="../images/a.jfif")
    data, matched = open_folder(root)
    assert data[0].labels.sum() == 9 and matched.bare == []
    (root / "images" / "a.jfif").rename(root / "images" / "a.jpg")
    labelme(root, {"label": "x", "points": SQUARE}, imagePath="../images/a.jpg")
    assert open_folder(root)[1].bare == []


def test_labelme_s_circles_and_masks(root: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[True, False], [True, True]])).save(buffer, "PNG")
    mask = {
        "label": "m",
        "points": [[5, 3], [6, 4]],
        "shape_type": "mask",
        "mask": base64.b64encode(buffer.getvalue()).decode(),
    }
    labelme(root, {"label": "c", "points": [[2.5, 2.5], [2.5, 4]], "shape_type": "circle"}, mask)
    labels = folder(root)[0].labels
    assert labels[1:4, 1:4].eq(1).all() and labels.eq(1).sum() == 9
    assert labels[3:5, 5:7].tolist() == [[2, 0], [2, 2]]


def test_labelme_without_a_size_has_the_image_s(root: Path) -> None:
    labelme(root, {"label": "x", "points": SQUARE}, imageHeight=None, imageWidth=None)
    assert folder(root)[0].labels.sum() == 9


@pytest.mark.parametrize(
    ("shape", "others", "said"),
    [
        (
            {"label": "x", "points": [[1, 1]], "shape_type": "rectangle"},
            {},
            r"a rectangle labelled 'x' cannot be drawn \(it has 1 points",
        ),
        ({"label": "x", "points": [[1, 1], [2, 2]], "shape_type": "cube"}, {}, "a cube labelled 'x' cannot be drawn"),
        ({"label": "x", "points": SQUARE, "shape_type": "circle"}, {}, "it has 4 points, not two"),
        ({"label": "x", "points": SQUARE, "shape_type": "ellipse"}, {}, "'ellipse' are not known; draw it as a polygon"),
        ({"label": "x", "points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": "?"}, {}, "a mask labelled 'x' cannot"),
        ({"points": SQUARE}, {}, "not an annotation of labelme"),
        ({"label": "x", "points": SQUARE}, {"imageHeight": float("nan")}, "not an annotation of labelme"),
        ({"label": "x", "points": [[5, 5], [9, 9]], "shape_type": "mask", "mask": DOT}, {}, "it does not fit the image"),
        ({"label": "x", "points": SQUARE}, {"imagePath": "b.jpg"}, "no image 'b.jpg'; looked in"),
        ({"label": "x", "points": SQUARE}, {"imageHeight": 60}, "is 8 x 6 pixels but the size of its labels is 8 x 60"),
    ],
)
def test_a_mistake_in_labelme_s_file_is_one_line(root: Path, shape: dict, others: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        folder(labelme(root, shape, **others))[0]
    assert "\n" not in str(error.value)


def test_cvat_s_shapes_are_painted_by_their_z_order(root: Path) -> None:
    cvat(
        root,
        '<box label="top" xtl="2" ytl="2" xbr="3" ybr="3" z_order="2"/>',
        '<polygon label="below" points="1,1;4,1;4,4;1,4" z_order="1"/>',
        '<mask label="m" rle="1,2,1" left="6" top="4" width="2" height="2" z_order="0"/>',
        '<ellipse label="e" cx="6.5" cy="1.5" rx="1.2" ry="1.2"/>',
        '<points label="p" points="0,0"/>',
    )
    data = folder(root)
    assert data.labels == ("background", "below", "e", "m", "top")
    expected = torch.zeros(SIZE, dtype=torch.long)
    expected[1:4, 1:4], expected[2, 2], expected[4, 7], expected[5, 6] = 1, 4, 3, 3
    expected[1, 5:8], expected[0:3, 6] = 2, 2
    assert torch.equal(data[0].labels, expected)


def test_cvat_s_declared_labels_come_in_their_order(root: Path) -> None:
    cvat(root, '<box label="b" xtl="0" ytl="0" xbr="8" ybr="6"/>')
    declared = "<meta><job><labels><label><name>z</name></label><label><name>b</name></label></labels></job></meta><image"
    text = (root / "annotations.xml").read_text()
    (root / "annotations.xml").write_text(text.replace("<image", declared, 1))
    assert folder(root).labels == ("background", "z", "b") and folder(root)[0].labels.eq(2).all()


def test_cvat_s_labels_without_pixels_are_none(root: Path) -> None:
    cvat(
        root,
        '<box label="b" xtl="0" ytl="0" xbr="8" ybr="6"/>',
        '<tag label="night"/>',
        '<skeleton label="person"><points label="head" points="1,1"/></skeleton>',
    )
    types = {"a": "any", "night": "tag", "person": "skeleton", "dot": "points", "wire": "polyline", "b": "rectangle"}
    declared = "".join(f"<label><name>{name}</name><type>{kind}</type></label>" for name, kind in types.items())
    declared += "<label><name>head</name><type>any</type><parent>person</parent></label>"
    text = (root / "annotations.xml").read_text()
    (root / "annotations.xml").write_text(text.replace("<image", f"<meta><labels>{declared}</labels></meta><image", 1))
    assert folder(root).labels == ("background", "a", "b")


def cvat_large(root: Path, shape: str) -> np.ndarray:
    Image.new("RGB", (200, 100)).save(root / "images" / "a.jpg")
    file = cvat(root, shape) / "annotations.xml"
    file.write_text(file.read_text().replace('width="8" height="6"', 'width="200" height="100"'))
    labels: np.ndarray = folder(root)[0].labels.numpy()
    return labels


@pytest.mark.parametrize(
    "shape",
    [
        '<box label="x" xtl="60" ytl="40" xbr="140" ybr="60" rotation="{}"/>',
        '<ellipse label="x" cx="100" cy="50" rx="40" ry="10" rotation="{}"/>',
    ],
    ids=["box", "ellipse"],
)
def test_cvat_s_rotation_is_clockwise_about_the_centre(root: Path, shape: str) -> None:
    level, quarter, tilted = (cvat_large(root, shape.format(degrees)) for degrees in (0, 90, 30))
    assert quarter[:, 50:150].sum() == level.sum() and (quarter[:, 50:150] == level[:, 50:150].T).all()
    rows, columns = np.nonzero(tilted)
    assert abs(len(rows) - level.sum()) < 0.02 * level.sum()
    assert abs(rows.mean() + 0.5 - 50) < 0.1 and abs(columns.mean() + 0.5 - 100) < 0.1
    slope = np.polyfit(columns, rows, 1)[0]  # down to the right, where clockwise leads
    assert 0.4 < slope < 0.6


@pytest.mark.parametrize(
    ("shape", "head", "said"),
    [
        ("", '<!DOCTYPE a [<!ENTITY b "c">]>', "declares entities, which CVAT does not write"),
        ("<polygon>", "", "not XML"),
        ('<polygon label="x" points="1,1;2"/>', "", "cannot be drawn|not two numbers"),
        ('<mask label="x" rle="1,2" left="0" top="0" width="2" height="2"/>', "", "a mask labelled 'x' cannot be drawn"),
        ('<mask label="x" rle="0,4" left="7" top="0" width="2" height="2"/>', "", "it does not fit the image"),
        ('<mask label="x" rle="0,99999999999" left="0" top="0" width="2" height="2"/>', "", "it does not fit the image"),
        ('<box label="x"/>', "", "a box labelled 'x' cannot be drawn"),
    ],
)
def test_a_mistake_in_cvat_s_file_is_one_line(root: Path, shape: str, head: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"annotations\.xml: .*({said})") as error:
        folder(cvat(root, shape, head=head))[0]
    assert "\n" not in str(error.value)


def test_an_image_whose_name_no_system_takes_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image 'aaa"):
        found_image("a" * 5000, [tmp_path], tmp_path / "photo.json")

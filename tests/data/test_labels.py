"""What stands for which label: labels.yaml and labels.txt, and the one line for each mistake in them."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from dpn.data import LabelMap, SegmentationData, read_labels
from dpn.errors import InputError


def read(folder: Path, text: str) -> LabelMap:
    (folder / "labels.yaml").write_text(text, encoding="utf-8")
    return read_labels(folder / "labels.yaml")


def ids(labels: LabelMap, *values: int) -> list[int]:
    return labels.labels(np.array([values]), "mask.png")[0].tolist()


def test_a_list_of_names_is_ids_from_0(tmp_path: Path) -> None:
    found = read(tmp_path, "labels: [sky, sea]")
    assert found.names == ("sky", "sea") and ids(found, 1, 0, 255) == [1, 0, 255]


def test_ids_with_gaps_are_compacted_by_names(tmp_path: Path) -> None:
    found = read(tmp_path, "labels:\n  road: 3\n  car: [40, 41]\n  sky: 77\n")
    assert found.names == ("road", "car", "sky") and ids(found, 77, 3, 41, 40, 255) == [2, 0, 1, 1, 255]


def test_binary_masks_have_255_as_a_label(tmp_path: Path) -> None:
    assert ids(read(tmp_path, "labels: {background: 0, foreground: 255}"), 0, 255) == [0, 1]


def test_the_value_may_come_first_and_a_name_several_times(tmp_path: Path) -> None:
    found = read(tmp_path, "labels:\n  0: sky\n  26: car\n  27: car\n")
    assert found.names == ("sky", "car") and ids(found, 27, 0, 26) == [1, 0, 1]
    assert read(tmp_path, "labels:\n  128 64 128: road\n").label_of[128, 64, 128] == 0


def test_reduce_zero_label_makes_0_void_and_shifts_the_others_by_one(tmp_path: Path) -> None:
    found = read(tmp_path, "reduce_zero_label: true\nlabels: [wall, building]")
    assert ids(found, 0, 1, 2, 255) == [255, 0, 1, 255]
    with pytest.raises(InputError, match="mask values 3 are no labels; allowed are 1 to 2, and 0, 255"):
        ids(found, 3)


@pytest.mark.parametrize("word", ["True", "TRUE", "yes", "Yes", "on", "1", '"true"'])
def test_every_way_to_write_true(tmp_path: Path, word: str) -> None:
    assert ids(read(tmp_path, f"reduce_zero_label: {word}\nlabels: [wall, building]"), 0, 1, 2) == [255, 0, 1]


@pytest.mark.parametrize("word", ["false", "False", "no", "OFF", "0"])
def test_every_way_to_write_false(tmp_path: Path, word: str) -> None:
    assert ids(read(tmp_path, f"reduce_zero_label: {word}\nlabels: [wall, building]"), 0, 1) == [0, 1]


@pytest.mark.parametrize("null", ["null", "Null", "~"])
def test_yaml_s_null_is_a_key_that_is_not_there(tmp_path: Path, null: str) -> None:
    keys = ("void", "others", "reduce_zero_label", "image_suffix", "mask_suffix")
    assert read(tmp_path, "".join(f"{key}: {null}\n" for key in keys) + "labels: [a]") == read(tmp_path, "labels: [a]")


def test_void_is_one_value_or_several_and_others_may_be_void_or_a_label(tmp_path: Path) -> None:
    assert ids(read(tmp_path, "labels: {a: 1}\nvoid: 0"), 0, 1, 255) == [255, 0, 255]
    assert ids(read(tmp_path, "labels: {a: 1}\nvoid: [0, 7]"), 0, 7, 1) == [255, 255, 0]
    assert ids(read(tmp_path, "labels: {a: 1}\nothers: void"), 9, 1) == [255, 0]
    assert ids(read(tmp_path, "labels: {rest: 0, a: 1}\nothers: rest"), 9, 1, 255) == [0, 1, 255]


@pytest.mark.parametrize("colour", ["128 64 0", "128, 64, 0", "(128, 64, 0)", '"#804000"', "'#804000'"])
def test_every_way_to_write_a_colour(tmp_path: Path, colour: str) -> None:
    found = read(tmp_path, f"labels:\n  road: {colour}\n")
    assert found.label_of[128, 64, 0] == 0 and found.palette[0].tolist() == [128, 64, 0]


@pytest.mark.parametrize("name", ["road[/]", "[bold]sea", "Straße", "道路", "yes", "no", "null", "1", "1.5", "é́", "a/b"])
def test_a_name_is_read_as_it_is_written(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, yaml.safe_dump({"labels": {name: 3}}, allow_unicode=True)).names == (name,)
    assert read(tmp_path, yaml.safe_dump({"labels": [name]}, allow_unicode=True)).names == (name,)
    (tmp_path / "labels.txt").write_text(f"{name}\nother\n", encoding="utf-8")
    assert read_labels(tmp_path / "labels.txt").names == (name, "other")


def test_a_number_may_be_a_name_and_an_id(tmp_path: Path) -> None:
    assert ids(read(tmp_path, "labels: {1: 0, 0: 1}"), 0, 1) == [0, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("labels: [a\n", "not YAML"),
        ("labels: " + "[" * 2000, "has more than 20 levels of lists and maps"),
        ("labels: &a [*a]", "&a holds itself; write its values out"),
        ("", "the file is empty"),
        ("- a\n- b\n", "the file needs lines of `name: value`"),
        ("names: [a, b]", "no key is called 'names'; there are labels, void"),
        ("void: 0", "no key `labels`"),
        ("labels: {road: #804080}\n", "not YAML"),
        ("labels:\n  road: #804080\n", 'road: a value is empty; a colour that begins with # needs quotes, as "#804080"'),
        ("labels: {a: 1, b: 1}", "1 stands for a and b; one value has one meaning"),
        ("labels: {a: 1}\nvoid: 1", "1 stands for a and void"),
        ("labels: {a: [0, 64], b: [64, 0]}", r"64 stands for a and b; .*colours are written 128 64 128"),
        ("labels: {a: 300 0 0}", "colour 300 0 0: red, green and blue are 0 to 255"),
        ("labels: [a]\nothers: b", "others: 'b' is neither void nor a label"),
        ("labels: {a: 1}\nreduce_zero_label: true", "reduce_zero_label needs `labels` to be a list"),
        ("labels: [a]\nreduce_zero_label: ja", "reduce_zero_label: 'ja' is neither true nor false"),
        ("labels: [a]\nreduce_zero_label: 2", "reduce_zero_label: '2' is neither true nor false"),
        ("labels: [a]\nvoid: 7\nlabels: [b]", "the key 'labels' is there twice"),
        ("labels: null", "no key `labels`"),
        ("labels: [a]\nmask_suffix: [_x, _y]", "mask_suffix: give one value"),
        ("labels: {a: {id: 1}}", "a: give one value or a list of values"),
        ("labels: {[a, b]: 1}", "labels: a name is a word or several"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"labels\.yaml: {said}") as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels\.yaml: has 1,000,013 bytes; at most 1,000,000 are read"):
        read(tmp_path, "labels: [a]\n#" + 1_000_000 * "x")


def test_a_file_that_is_not_utf_8_says_so(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("Straße\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"labels\.txt: not a text file in UTF-8; save it as one"):
        read_labels(tmp_path / "labels.txt")


def test_a_name_may_not_occur_twice_which_yaml_would_hide(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two labels are called 'road'"):
        SegmentationData([], read(tmp_path, "labels: {road: 0, road: 1}"))


def test_a_category_stands_for_its_own_name_or_the_label_that_lists_it(tmp_path: Path) -> None:
    found = read(tmp_path, "labels: {vehicle: [car, lorry], person: 1}\nvoid: unsure")
    assert [found.category(name, "a.json") for name in ("lorry", "person", "vehicle", "unsure")] == [0, 1, 0, 255]
    with pytest.raises(InputError, match=r"a\.json: category 'dog' is none of the labels \(vehicle, person\)"):
        found.category("dog", "a.json")


def rows() -> list[str]:
    """What docs/data.md says to write, a file for each row of its table."""
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    table = page.partition("## labels.yaml")[2].partition("## Outlines")[0]
    said = [re.findall(r"`([a-z_]+: .+?)`", row.partition("; or")[0]) for row in table.splitlines() if row.startswith("| ")]
    return ["\n".join(lines) for lines in said if lines]


def test_every_row_of_the_page_is_read(tmp_path: Path) -> None:
    assert len(rows()) >= 8
    assert all(len(read(tmp_path, text).names) >= 2 for text in rows())

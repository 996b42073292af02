"""The archive is what VOC's server reads: a reader written to its rules finds every image in its folder, whole."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpn.data import voc_palette
from dpn.errors import InputError
from dpn.inference.submission import submission


def served(path: Path, names: list[str], competition: str, split: str) -> dict[str, np.ndarray]:
    """What the development kit's VOCevalseg would read: results/VOC2012/Segmentation/<comp>_<split>_cls/<name>.png, indexed."""
    labels = {}
    with tarfile.open(path) as archive:
        files = {member.name: member for member in archive if member.isfile()}
        folder = f"results/VOC2012/Segmentation/{competition}_{split}_cls"
        assert sorted(files) == sorted(f"{folder}/{name}.png" for name in names)
        for name in names:
            picture = Image.open(archive.extractfile(files[f"{folder}/{name}.png"]))
            assert picture.format == "PNG"
            assert picture.mode == "P"
            assert np.array_equal(np.array(picture.getpalette()).reshape(-1, 3), voc_palette())
            labels[name] = np.array(picture)
    return labels


def test_the_server_reads_what_was_written(tmp_path):
    maps = {f"2008_{i:06d}": np.random.default_rng(i).integers(0, 21, (5 + i, 7)) for i in range(3)}
    count = submission(tmp_path / "mine.tar.gz", maps.items(), competition="comp5")
    assert count == 3
    for name, labels in served(tmp_path / "mine.tar.gz", list(maps), "comp5", "test").items():
        np.testing.assert_array_equal(labels, maps[name])


def test_nothing_is_left_where_something_is_wrong(tmp_path):
    good, bad = np.zeros((2, 2), int), np.full((2, 2), 21)
    with pytest.raises(InputError, match=r"2008_2: the server takes \(H,W\) labels 0..20, got \(2, 2\) up to 21"):
        submission(tmp_path / "mine.tgz", [("2008_1", good), ("2008_2", bad)])
    with pytest.raises(InputError, match="no image to submit"):
        submission(tmp_path / "mine.tgz", [])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="ends in"):
        submission(tmp_path / "mine.zip", [("2008_1", good)])
    with pytest.raises(InputError, match="comp5 or comp6"):
        submission(tmp_path / "mine.tgz", [("2008_1", good)], competition="comp4")

"""Scripts need a GPU, hours or a peer to run, but not to be read: what they import from the package is there."""

import zlib
from importlib.util import module_from_spec, spec_from_file_location
from io import BytesIO
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
import torch
from PIL import Image

from dpn.data.palette import VOC_LABELS

SCRIPTS = sorted((Path(__file__).parents[1] / "scripts").glob("*.py"))


def loaded(path: Path, name: str = "") -> ModuleType:
    spec = spec_from_file_location(name or path.stem, path)
    assert spec and spec.loader
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


SOAK = SCRIPTS[0].with_name("soak")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_imports_without_a_gpu_or_a_peer(path: Path) -> None:
    script = loaded(path)
    assert f"python scripts/{path.name}" in script.__doc__ and script.main.__doc__


def test_what_runs_wrote_is_compared_but_for_times(tmp_path: Path) -> None:
    runs = loaded(SOAK / "runs.py")
    for n, folder in enumerate(("a", "b", "c")):
        (tmp_path / folder / "tensorboard").mkdir(parents=True)
        (tmp_path / folder / "tensorboard" / f"events.out.{n}").touch()
        (tmp_path / folder / "stages.json").write_text(f'[{{"miou": 0.5, "seconds": {n}}}]')
        state = {"step": 1, "seconds": n, "model": {"weight": torch.tensor([float(folder == "c")])}}
        torch.save(state, tmp_path / folder / "last.ckpt")
    a, b, c = (runs.wrote(tmp_path / folder) for folder in ("a", "b", "c"))
    assert a == b and [*a] == ["last.ckpt", "stages.json"]
    assert [name for name in a if a[name] != c[name]] == ["last.ckpt"]


def test_the_weak_maps_of_voc_are_those_of_its_objects() -> None:
    weak = loaded(SCRIPTS[0].with_name("weak_maps.py"))
    classes = [index for ranges in weak.CLASSES.values() for index in weak.classes_of(ranges)]
    assert tuple(weak.CLASSES) == VOC_LABELS[1:] and len(classes) == len(set(classes)) and set(classes) < set(range(1000))
    maps = torch.zeros(1, 20, 1, 3)
    maps[0, [2, 7], :, 0], maps[0, 2, :, 1] = 1.0, 0.3
    truth = torch.tensor([[0, 255, 3]])
    log_p = weak.with_background(weak.of_image(maps, truth), 0.2)
    assert log_p.argmax(1).tolist() == [[[3, 3, 0]]]
    torch.testing.assert_close(log_p.exp()[0, [0, 3], 0, 0], torch.tensor([0.2, 1.0]) / 1.2)


def test_weak_maps_of_stride_32_are_averages_of_32_pixels() -> None:
    weak = loaded(SCRIPTS[0].with_name("weak_maps.py"))
    log_p = torch.randn(1, 3, 64, 96).log_softmax(1)
    means = log_p.unflatten(3, (3, 32)).unflatten(2, (2, 32)).mean((3, 5)).log_softmax(1)
    torch.testing.assert_close(weak.coarse(log_p)[..., 0, 0], means[..., 0, 0])
    assert weak.coarse(log_p[..., :50, :70]).shape == (1, 3, 50, 70)


def test_the_soak_imports_alone_and_its_parts_fit_their_time() -> None:
    script = loaded(SOAK / "__main__.py", "soak")
    assert "python scripts/soak" in script.__doc__ and script.main.__doc__
    for of_lane in script.LANES:
        assert sum(share for _, share in of_lane.values()) == pytest.approx(1)
    assert max(len(path.read_text().splitlines()) for path in SOAK.glob("*.py")) <= 300


def test_damage_is_the_same_each_time_and_mends_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SOAK)
    from mutations import mutated

    out = BytesIO()
    Image.new("L", (5, 4)).save(out, "png")
    sound = out.getvalue()
    damaged = [mutated(sound, ".png", sound, Random(seed)) for seed in range(60)]
    assert damaged == [mutated(sound, ".png", sound, Random(seed)) for seed in range(60)]
    claimed = {content[16:24] for content in damaged if int.from_bytes(content[29:33]) == zlib.crc32(content[12:29])}
    assert len(claimed) > 2  # sizes that the picture has not, under a checksum that fits

"""`dpn refine`: masks and scores of every kind, and one line for each that does not serve while the others are made."""

import errno
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

import dpn
from dpn.cli import main
from dpn.data import photograph, voc_palette
from dpn.files import written_whole
from dpn.inference import refine_command
from dpn.stopping import TerminatedError

IMAGE = np.ascontiguousarray(photograph("cat")[50:130, 100:220])
HEIGHT, WIDTH, _ = IMAGE.shape
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `dpn refine masks images --out out` with options, in a folder of two images; its exit code and what it said."""
    monkeypatch.chdir(tmp_path)
    for name in ("images/a.png", "images/b.png"):
        saved(name, IMAGE)
    Path("masks").mkdir()

    def run(*words: object, masks: str = "masks", images: str = "images", out: str = "out") -> tuple[int, str, str]:
        code = main(["refine", masks, images, "--out", out, *map(str, words)])
        return code, *capsys.readouterr()

    return run


def saved(path: str, pixels: np.ndarray, palette: np.ndarray | None = None) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    picture = Image.fromarray(pixels)
    if palette is not None:
        picture.putpalette(palette.astype(np.uint8).tobytes())
    picture.save(path)


def mask() -> np.ndarray:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:, 50:], labels[:6] = 2, 255
    return labels


def scores(labels: int = 3, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return torch.randn(labels, height, width, generator=torch.Generator().manual_seed(0)).mul(2).numpy()


def softmax(values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values).softmax(0).numpy()


def written(name: str) -> np.ndarray:
    with Image.open(f"out/{name}.png") as picture:
        assert picture.mode == "P"
        return np.asarray(picture)


def is_one_line(error: str, *words: str) -> bool:
    return error.startswith("dpn: ") and error.count("\n") == 1 and all(word in error for word in words)


def test_a_folder_of_masks_is_refined_in_the_colours_that_it_had(run: Run) -> None:
    palette = np.random.default_rng(0).integers(0, 256, (256, 3))
    saved("masks/a.png", mask(), palette)
    saved("masks/b.png", mask())
    code, said, error = run()
    assert (code, error) == (0, "") and "2 of 2 masks, in out: NAME.png" in said
    for name, colours in (("a", palette), ("b", voc_palette())):
        np.testing.assert_array_equal(written(name), dpn.refine(mask(), IMAGE).argmax(0))
        with Image.open(f"out/{name}.png") as picture:
            assert picture.getpalette() == colours.ravel().tolist()
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "b.png"]


def test_a_preset_a_confidence_and_labels_are_those_of_dpn_refine(run: Run) -> None:
    saved("masks/a.png", mask())
    assert run("--head", "irn", "--labels", 5, "--confidence", 0.6, "--scores")[0] == 0
    expected = dpn.refine(mask(), IMAGE, "irn", labels=5, confidence=0.6)
    np.testing.assert_array_equal(np.load("out/a.npy"), expected.astype(np.float16))
    np.testing.assert_array_equal(written("a"), expected.argmax(0))


def test_a_trained_head_refines(run: Run) -> None:
    saved("masks/a.png", mask())
    assert run("--head", "voc")[0] == 0
    np.testing.assert_array_equal(written("a"), dpn.refine(mask(), IMAGE, "voc").argmax(0))


@pytest.mark.parametrize("kind", ["npy", "npz", "float16", "labels last"])
def test_probabilities_are_read_from_numpys_files(run: Run, kind: str) -> None:
    p, options = softmax(scores()), []
    if kind == "npz":
        np.savez("masks/a.npz", p=p)
        np.savez_compressed("masks/b.npz", other=np.zeros(3), p=p)
        code, _, error = run()
        assert code == 2 and is_one_line(error, "masks/b.npz: holds the arrays other, p; name one of them by --key")
        options = ["--key", "p"]
    elif kind == "float16":
        p = p.astype(np.float16)
        np.save("masks/a.npy", p)
    elif kind == "labels last":
        np.save("masks/a.npy", p.transpose(1, 2, 0))
        options = ["--labels-last", "--scores"]
    else:
        np.save("masks/a.npy", p)
    assert run(*options)[0] == 0
    q = dpn.refine(p, IMAGE)
    np.testing.assert_array_equal(written("a"), q.argmax(0))
    if kind == "labels last":
        np.testing.assert_array_equal(np.load("out/a.npy"), q.transpose(1, 2, 0).astype(np.float16))


def test_integers_of_numpys_files_are_labels(run: Run) -> None:
    np.save("masks/a.npy", mask().astype(np.int64))
    assert run()[0] == 0
    np.testing.assert_array_equal(written("a"), dpn.refine(mask(), IMAGE).argmax(0))


def test_smaller_logits_are_upsampled_before_their_softmax(run: Run) -> None:
    small = scores(21, HEIGHT // 4, WIDTH // 4)
    np.save("masks/a.npy", small)
    code, _, error = run()
    assert code == 2 and is_one_line(error, "masks/a.npy: probabilities must be in [0,1]", "--logits")
    assert run("--logits", "--head", "afa")[0] == 0
    large = torch.nn.functional.interpolate(torch.from_numpy(small)[None], (HEIGHT, WIDTH), mode="bilinear")
    np.testing.assert_array_equal(written("a"), dpn.refine(large.softmax(1)[0].numpy(), IMAGE, "afa").argmax(0))


def test_what_clip_es_is_not_sure_of_becomes_void(run: Run) -> None:
    np.save("masks/a.npy", softmax(scores(3, 8, 12)))
    assert run("--head", "clip-es")[0] == 0
    q = dpn.refine(softmax(scores(3, 8, 12)), IMAGE, "clip-es")
    found = written("a")
    assert 0.01 < (found == 255).mean() < 0.99
    np.testing.assert_array_equal(found == 255, q.max(0) < 0.95)


def test_a_pipe_is_told_and_not_waited_for(run: Run) -> None:
    os.mkfifo("masks/a.npy")
    np.save("masks/b.npy", softmax(scores()))
    code, said, error = run()
    assert code == 2 and is_one_line(error, "masks/a.npy: a pipe or a device where a file of numpy's is needed")
    assert "1 of 2 masks" in said


@pytest.mark.parametrize("of", ["np.save", "pickle", "np.savez"])
def test_pickles_are_refused_in_one_line_that_says_what_to_do(run: Run, of: str) -> None:
    cams = {"keys": np.arange(2), "high_res": scores()}
    path = Path("masks/a.npz" if of == "np.savez" else "masks/a.npy")
    if of == "np.save":
        np.save(path, cams, allow_pickle=True)
    elif of == "np.savez":
        np.savez(path, cams=np.array(cams))
    else:
        path.write_bytes(pickle.dumps(cams))
    np.save("masks/b.npy", softmax(scores()))
    code, said, error = run()
    assert code == 2 and is_one_line(error, f"{path}: holds pickled objects, such as IRN's", "alone, with np.save")
    assert "1 of 2 masks" in said and not Path("out/a.png").exists()


@pytest.mark.parametrize("content", [b"", b"not numpy's", b"PK\x03\x04 no archive", b"\x93NUMPY\x01\0"])
def test_a_broken_file_of_scores_is_told(run: Run, content: bytes) -> None:
    path = Path("masks/a.npz" if content.startswith(b"PK") else "masks/a.npy")
    path.write_bytes(content)
    code, _, error = run()
    assert code == 2 and is_one_line(error, f"{path}: not a whole file of numpy's")


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_file_of_scores_that_ends_too_early_is_told(run: Run, suffix: str) -> None:
    path = Path(f"masks/a.{suffix}")
    (np.save if suffix == "npy" else np.savez_compressed)(path, softmax(scores()))
    path.write_bytes(path.read_bytes()[:-100])
    code, _, error = run()
    assert code == 2 and is_one_line(error, f"{path}: not a whole file of numpy's")


def test_words_are_no_scores(run: Run) -> None:
    np.save("masks/a.npy", np.array(["cat", "dog"]))
    code, _, error = run()
    assert code == 2 and is_one_line(error, "masks/a.npy: probabilities and labels must be real numbers, got <U3")


def test_a_file_of_no_arrays_is_told(run: Run) -> None:
    np.savez("masks/a.npz")
    code, _, error = run()
    assert code == 2 and is_one_line(error, "masks/a.npz: holds no array")


def test_masks_without_an_image_fail_and_images_without_a_mask_are_counted(run: Run) -> None:
    saved("masks/a.png", mask())
    saved("masks/c.png", mask())
    code, said, error = run()
    assert code == 2 and is_one_line(error, "masks/c.png: no image in images has this name")
    assert "1 of 2 masks" in said and "1 of 2 images have no mask, such as b.png" in said
    Path("masks/a.png").unlink()
    code, _, error = run()
    assert code == 2 and is_one_line(error, "masks: no mask has the name of an image in images, such as a.png")


def test_one_mask_and_one_image_are_a_pair_whatever_their_names(run: Run) -> None:
    saved("masks/labels.png", mask())
    assert run(masks="masks/labels.png", images="images/a.png")[0] == 0
    np.testing.assert_array_equal(written("labels"), dpn.refine(mask(), IMAGE).argmax(0))


def test_a_run_goes_on_where_it_was_stopped(run: Run) -> None:
    for name in ("a", "b"):
        saved(f"masks/{name}.png", mask())
    assert run()[0] == 0
    first = Path("out/a.png").stat().st_mtime_ns
    Path("out/b.png").unlink()
    code, said, _ = run()
    assert code == 0 and "1 of 2 masks" in said and "1 were there, newer than mask and image, and are left" in said
    assert Path("out/a.png").stat().st_mtime_ns == first and Path("out/b.png").exists()
    assert "2 of 2 masks" in run("--anew")[1]
    assert "2 of 2 masks" in run("--scores")[1]  # the scores were not there
    os.utime("masks/a.png")
    assert "1 of 2 masks" in run()[1]


@pytest.mark.parametrize(
    ("error", "made", "code", "told"),
    [
        (RuntimeError("odd"), "2 of 3", 2, ["masks/b.png: RuntimeError: odd"]),
        (OSError(errno.ENAMETOOLONG, "File name too long"), "2 of 3", 2, ["out/b.png: cannot be written (File name too long)"]),
        (OSError(errno.ENOSPC, "No space left"), "1 of 3", 2, ["out/b.png: cannot be written (No space left)"]),
        (TerminatedError(), "1 of 3", 143, ["stopped by SIGTERM: 1 of 3 masks are made; the same command goes on from there"]),
    ],
    ids=["library", "name", "full", "sigterm"],
)
def test_what_is_wrong_with_one_stops_no_other_unless_there_is_no_room(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, made: str, code: int, told: list[str]
) -> None:
    for name in ("a", "b", "c"):
        saved(f"masks/{name}.png", mask())
        saved(f"images/{name}.png", IMAGE)

    def failing(png: Path, *rest: object) -> None:
        with written_whole(png) as temporary:
            if png.stem == "b":
                raise error
            temporary.touch()

    monkeypatch.setattr("dpn.plots.colours.save_mask", failing)
    ended, printed, complaint = run()
    assert ended == code and f"{made} masks, in out" in printed and is_one_line(complaint, *told)


def test_a_broken_image_in_the_midst_is_told_and_the_rest_goes_on(run: Run) -> None:
    for name in ("a", "b", "c"):
        saved(f"masks/{name}.png", mask())
        saved(f"images/{name}.png", IMAGE)
    content = Path("images/b.png").read_bytes()
    Path("images/b.png").write_bytes(content[: len(content) // 2])
    code, said, error = run()
    assert code == 2 and is_one_line(error, "images/b.png: a broken image") and "2 of 3 masks" in said
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "c.png"]


def test_a_mask_of_another_size_is_told_by_its_name(run: Run) -> None:
    saved("masks/a.png", mask()[:-3])
    code, _, error = run()
    assert code == 2 and is_one_line(error, "masks/a.png: hard labels must be (H,W) of the image's size, (80, 120)")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--head", "irnet"], "irnet: no preset (pydensecrf, "),
        (["--head", "voc", "--labels", "5"], "--labels 5: the head voc is of 21; leave --labels out"),
        (["--labels", "1"], "--labels must be 2 to 255, got 1"),
        (["--confidence", "1"], "--confidence must be above 0 and below 1, got 1.0"),
        (["--out", "masks"], "a.png: an input that would be written over; choose another --out"),
        (["--device", "abacus"], "device 'abacus' does not serve"),
    ],
)
def test_options_that_do_not_serve_are_told_before_anything_is_done(run: Run, words: list[str], told: str) -> None:
    saved("masks/a.png", mask())
    code, _, error = run(*words)
    assert code == 2 and is_one_line(error, told) and not Path("out").exists()


def test_two_masks_of_one_name_are_told(run: Run) -> None:
    saved("masks/a.png", mask())
    np.save("masks/a.npy", scores())
    code, _, error = run()
    assert code == 2 and is_one_line(error, "masks/a.png: has the name of a.npy; leave one of them in the folder")


def test_a_folder_without_masks_is_told(run: Run) -> None:
    code, _, error = run()
    assert code == 2 and is_one_line(error, "masks: no mask in this folder (looked for .npy, .npz, .png)")


def claiming(shape: tuple[int, ...]) -> bytes:
    """A .npy of no values whose head claims a shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_an_array_that_claims_more_memory_than_an_image_may_take_is_refused_unread(run: Run) -> None:
    Path("masks/a.npy").write_bytes(claiming((21, 10**6, 10**6)))
    with ZipFile("masks/b.npz", "w", ZIP_DEFLATED) as packed:
        packed.writestr("scores.npy", claiming((21, 40_000, 40_000)) + bytes(1000))
    code, _, said = run()
    assert code == 2
    assert "a.npy: too large to be read safely, an array (21, 1000000, 1000000) of float32; make it smaller, or raise" in said
    assert "b.npz: too large to be read safely, an array (21, 40000, 40000) of float32" in said


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 GB")])
def test_a_mask_without_memory_for_it_fails_alone(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    saved("masks/a.png", mask(), voc_palette())
    saved("masks/b.png", mask(), voc_palette())
    made = refine_command.refined

    def refined(p: torch.Tensor, *given: object) -> np.ndarray:
        monkeypatch.setattr(refine_command, "refined", made)
        raise error

    monkeypatch.setattr(refine_command, "refined", refined)
    code, printed, said = run()
    assert code == 2
    assert said.strip() == "dpn: masks/a.png: out of memory; fewer labels or a smaller image take less".replace("/", os.sep)
    assert "1 of 2 masks" in printed

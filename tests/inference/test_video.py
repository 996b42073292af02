"""Clips in and out: what frames are made of, when they are shown, how they sound, and that memory does not grow."""

import json
import struct
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from weakref import WeakSet

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dpn import DPN, MRF, InputError, segment_video
from dpn.cli import main
from dpn.data import to_tensor
from dpn.inference import video
from dpn.inference.average import Average
from dpn.inference.clips import Frame, opened_clip
from dpn.unary import Wrap

HEIGHT, WIDTH, MILLI = 48, 64, Fraction(1, 1000)


@pytest.fixture
def av():
    return pytest.importorskip("av", reason="PyAV is not installed")


class IsGreen(nn.Module):
    """Scores of two labels: the second is what is green."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(20.0))

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([torch.zeros_like(image[:, 0]), self.sharpness * (image[:, 1] - 0.5)], 1)


def network(**options) -> DPN:
    given = {"window": 3, "context": 1, "components": 1, "penalty": 0.0} | options
    return DPN(Wrap(IsGreen(), labels=2), MRF(2, **given), labels=["ground", "square"]).eval()


def picture(number: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """A green square that moves to the right over red ground."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[..., 0] = 180
    pixels[8:24, number : number + 16] = 20, 220, 40
    return pixels


def made_video(
    path: Path,
    frames: int = 10,
    times: Sequence[int] = (),
    size: tuple[int, int] = (HEIGHT, WIDTH),
    codec: str = "",
    sound: str = "",
) -> Path:
    """A video of `picture`s, at 25 frames a second or at these milliseconds, and as long a tone."""
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec or out.default_video_codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = MILLI
        voice = out.add_stream(sound, rate=44100) if sound else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts, frame.time_base = times[number] if times else 40 * number, MILLI
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if voice:
            tone = np.sin(np.arange(44100 * frames // 25) / 10).astype(np.float32)[None]
            whole = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            whole.sample_rate, whole.pts, context = 44100, 0, voice.codec_context
            cut = av.AudioResampler(context.format, context.layout, 44100, frame_size=1024)
            for piece in (*cut.resample(whole), *cut.resample(None)):
                out.mux(voice.encode(piece))
            out.mux(voice.encode(None))
    return path


def made_animation(path: Path, durations: Sequence[int] = (40, 120, 40)) -> Path:
    first, *more = (Image.fromarray(picture(number)) for number in range(len(durations)))
    options = {} if path.suffix == ".tif" else {"duration": list(durations)}
    first.save(path, save_all=True, append_images=more, **options)
    return path


def read(path: Path) -> list[Frame]:
    with opened_clip(path) as clip:
        return list(clip.frames)


def packets(path: Path) -> list[tuple[float, bytes]]:
    """The sound of a file: when each piece is heard, and the piece."""
    import av

    with av.open(str(path)) as container:
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(audio=0) if p.size]


def test_each_frame_gets_the_labels_of_its_own_pixels(av, tmp_path):
    clip = made_video(tmp_path / "clip.mp4")
    about = segment_video(clip, tmp_path / "labels", network(), write="labels")
    assert (about["frames"], about["width"], about["height"]) == (10, WIDTH, HEIGHT)
    assert [each["name"] for each in about["labels"]] == ["ground", "square"]
    assert about["labels"][1]["share"] == pytest.approx(256 / HEIGHT / WIDTH, rel=0.15)
    for number in range(10):
        labels = np.asarray(Image.open(tmp_path / f"labels/{number:06}.png"))
        truth = picture(number)[..., 1] > 128
        assert ((labels == 1) != truth).mean() < 0.02, number


def test_the_overlay_is_a_video_of_as_many_frames_with_the_same_sound(av, tmp_path):
    clip = made_video(tmp_path / "clip.mp4", frames=30, sound="aac")
    segment_video(clip, tmp_path / "out/seen.mp4", network())
    seen = read(tmp_path / "out/seen.mp4")
    assert [frame.time for frame in seen] == [frame.time for frame in read(clip)]
    assert seen[0].pixels.shape == (HEIGHT, WIDTH, 3)
    assert len(packets(clip)) > 40
    assert packets(tmp_path / "out/seen.mp4") == packets(clip)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["seen.mp4"]


def test_the_masks_video_has_the_labels_colours(av, tmp_path):
    segment_video(made_video(tmp_path / "clip.mp4", frames=5), tmp_path / "masks.mp4", network(), write="masks")
    pixels = read(tmp_path / "masks.mp4")[4].pixels.astype(int)
    assert np.abs(pixels[40, 50]).max() < 12
    assert np.abs(pixels[16, 12] - [128, 0, 0]).max() < 12


def test_rle_has_a_line_for_each_frame(av, tmp_path):
    mask = pytest.importorskip("pycocotools.mask")
    segment_video(made_video(tmp_path / "clip.mp4", frames=5), tmp_path / "rle.jsonl", network(), write="rle")
    lines = [json.loads(line) for line in (tmp_path / "rle.jsonl").read_text().splitlines()]
    assert [(line["frame"], line["time"]) for line in lines] == [(number, number / 25) for number in range(5)]
    ground, square = lines[3]["objects"]
    region = mask.decode(square["segmentation"]).astype(bool)
    assert (region != (picture(3)[..., 1] > 128)).mean() < 0.02
    assert (square["label"], square["name"], square["pixels"]) == (1, "square", region.sum())
    assert ground["pixels"] + square["pixels"] == HEIGHT * WIDTH


def test_a_variable_frame_rate_stays_as_it_is(av, tmp_path):
    times = [0, 40, 80, 500, 510, 900, 2000, 2033]
    clip = made_video(tmp_path / "clip.mp4", frames=8, times=times)
    segment_video(clip, tmp_path / "seen.mp4", network())
    assert [round(1000 * frame.time) for frame in read(tmp_path / "seen.mp4")] == times


def turned_by_metadata(path: Path) -> Path:
    """The same MP4 with a display matrix that turns it a quarter clockwise."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    content[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, HEIGHT << 16, 0, 1 << 30)
    path.write_bytes(content)
    return path


def test_a_clip_that_its_metadata_turn_is_seen_and_written_upright(av, tmp_path):
    clip = turned_by_metadata(made_video(tmp_path / "clip.mp4", frames=3))
    upright = np.rot90(picture(0), -1)
    assert np.abs(read(clip)[0].pixels.astype(int) - upright).mean() < 8
    assert segment_video(clip, tmp_path / "seen.mp4", network())["height"] == WIDTH
    assert read(tmp_path / "seen.mp4")[0].pixels.shape == (WIDTH, HEIGHT, 3)


def test_odd_sides_are_made_even_by_their_last_pixels(av, tmp_path):
    clip = made_animation(tmp_path / "clip.gif")
    odd = [Image.fromarray(picture(number, (47, 63))) for number in range(3)]
    odd[0].save(clip, save_all=True, append_images=odd[1:], duration=40)
    segment_video(clip, tmp_path / "seen.mp4", network())
    seen = read(tmp_path / "seen.mp4")
    assert [frame.pixels.shape for frame in seen] == [(48, 64, 3)] * 3
    assert [frame.time for frame in seen] == [0, Fraction(1, 25), Fraction(2, 25)]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".tif", ".png", ".apng"])
def test_animations_go_the_same_way_without_pyav(suffix, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    clip = made_animation(tmp_path / f"clip{suffix}")
    assert segment_video(clip, tmp_path / f"seen{suffix}", network(), write="masks")["frames"] == 3
    seen = read(tmp_path / f"seen{suffix}")
    times = [0, 100, 200] if suffix == ".tif" else [0, 40, 160]
    assert [round(1000 * frame.time) for frame in seen] == times
    assert np.abs(seen[2].pixels[16, 10].astype(int) - [128, 0, 0]).max() < 12


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path):
    first, other = Image.fromarray(picture(0)), Image.fromarray(picture(0, (2 * HEIGHT, 2 * WIDTH)))
    first.save(tmp_path / "clip.tif", save_all=True, append_images=[other])
    assert [frame.pixels.shape for frame in read(tmp_path / "clip.tif")] == [(HEIGHT, WIDTH, 3)] * 2


def noisy(count: int, alive: WeakSet[Frame] | None = None) -> Iterator[Frame]:
    random = np.random.default_rng(0)
    for number in range(count):
        frame = Frame(random.integers(0, 256, (12, 16, 3), np.uint8), Fraction(number))
        if alive is not None:
            alive.add(frame)
        yield frame


@pytest.mark.parametrize("span", [3, 5])
@pytest.mark.parametrize("iterations", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 13])
def test_a_ring_of_frames_gives_what_the_whole_clip_gives(span, iterations, count):
    model = network(penalty=3.0, window=5, iterations=iterations, sigma_color=0.3, absent_below=0.0)
    found = list(video._over_time(model, 513, span, noisy(count), 2))
    images = torch.stack([to_tensor(frame.pixels) for frame in noisy(count)])
    model.mrf.config = model.mrf.config.changed(frames=span)
    with torch.no_grad():
        whole = model(images).exp()
    assert [frame.time for frame, _ in found] == list(range(count))
    torch.testing.assert_close(torch.stack([q for _, q in found]), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("span", [1, 3])
def test_memory_does_not_grow_with_the_clip(span):
    alive, most = WeakSet[Frame](), 0
    model = network()
    frames = noisy(200, alive)
    steps = video._alone(model, 513, frames, 2) if span == 1 else video._over_time(model, 513, span, frames, 2)
    for _ in steps:
        most = max(most, len(alive))
    assert most <= (2 if span == 1 else video.TOGETHER + 4) + 3


def test_one_frame_at_a_time_is_dpn_segment(tmp_path):
    from dpn import segment

    model = network(penalty=3.0, window=5)
    segment_video(made_animation(tmp_path / "clip.png"), tmp_path / "labels", model, write="labels", frames=1)
    for number in range(3):
        labels = np.asarray(Image.open(tmp_path / f"labels/{number:06}.png"))
        assert (labels == segment(picture(number), model).labels).all()


def test_the_model_stays_as_it_is(tmp_path):
    model = network()
    segment_video(made_animation(tmp_path / "clip.gif"), tmp_path / "seen.gif", model, frames=5)
    assert model.mrf.config.frames == 1


def test_sound_that_the_container_cannot_hold_is_left_out_with_a_word(av, tmp_path):
    clip = made_video(tmp_path / "clip.mp4", sound="aac")
    with pytest.warns(UserWarning, match="its sound, aac, cannot be in a webm"):
        segment_video(clip, tmp_path / "seen.webm", network())
    assert len(read(tmp_path / "seen.webm")) == 10


def test_what_is_broken_in_the_middle_is_left_out_with_a_word(av, tmp_path):
    clip = made_video(tmp_path / "clip.mkv", frames=40, codec="mpeg4")
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1500] = np.random.default_rng(0).bytes(1500)
    clip.write_bytes(content)
    with pytest.warns(UserWarning, match="what is broken in it was left out"):
        about = segment_video(clip, tmp_path / "seen.mp4", network())
    assert 10 < about["frames"] < 40


def test_a_clip_that_ends_before_the_end_that_it_names_is_told(av, tmp_path, recwarn):
    whole = made_video(tmp_path / "clip.mkv", frames=60, codec="mpeg4")
    assert len(read(whole)) == 60 and not recwarn.list
    (part := tmp_path / "part.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    with pytest.warns(UserWarning, match=r"part\.mkv: its pictures end at .* of .* seconds; was it written to its end\?"):
        assert 0 < len(read(part)) < 60


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:700])
    return path


def test_a_file_that_is_no_clip_is_told_in_one_line(av, tmp_path, capsys):
    text, folder = tmp_path / "text.mp4", tmp_path / "folder"
    text.write_text("no clip")
    folder.mkdir()
    broken = cut(made_video(tmp_path / "cut.mp4"))
    half = made_animation(tmp_path / "half.gif", durations=(40,) * 20)
    half.write_bytes(half.read_bytes()[:300])
    silent = made_video(tmp_path / "sound.mp4", sound="aac")
    with av.open(str(silent)) as source, av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as out:
        copy = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    for path, words in [
        (text, "not a clip that can be read (Invalid data found when processing input)"),
        (broken, "not a clip that can be read"),
        (half, "not a clip that can be read"),
        (tmp_path / "nowhere.mp4", "no such file"),
        (folder, "a folder where a clip is needed"),
        (tmp_path / "sound.m4a", "has no pictures"),
    ]:
        with pytest.raises(InputError) as told:
            segment_video(path, tmp_path / "seen.mp4", network())
        assert words in str(told.value), path
        assert str(path) in str(told.value)
        assert "\n" not in str(told.value)
        assert not (tmp_path / "seen.mp4").exists()
        assert not list(tmp_path.glob(".*"))
    assert main(["video", str(text)]) == 2
    assert capsys.readouterr().err.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "clip.gif"}, "would be written over"),
        ({"write": "polygons"}, "write must be one of overlay, masks, labels, rle"),
        ({"size": 0}, "size must be at least 1"),
        ({"frames": 2}, "frames must be odd"),
        ({"frames": 0}, "frames must be at least 1, got 0"),
        ({"model": network(window=None)}, "frames=3 needs filters in a window"),
        ({"model": Average([network()])}, "frames=3 needs a DPN, got a Average; frames=1"),
        ({"out": "clip.gif/seen.gif"}, "cannot be made a folder"),
    ],
    ids=str,
)
def test_what_does_not_serve_is_refused(options, words, tmp_path):
    made_animation(tmp_path / "clip.gif")
    given = {"model": network(), "out": "seen.gif"} | options
    with pytest.raises(InputError, match=words):
        segment_video(tmp_path / "clip.gif", tmp_path / given.pop("out"), given.pop("model"), **given)
    assert not (tmp_path / "seen.gif").exists()


def test_a_suffix_that_is_no_clip_s_is_refused(av, tmp_path):
    with pytest.raises(InputError, match=r"no kind of clip; choose one of .mp4, .mkv"):
        segment_video(made_animation(tmp_path / "clip.gif"), tmp_path / "seen.doc", network())


def test_frames_are_refined_together_where_the_head_has_a_window() -> None:
    assert video.usual_frames(network()) == video.FRAMES == 3
    assert video.usual_frames(network(window=None)) == video.usual_frames(Average([network()])) == 1


def test_an_average_takes_frames_by_themselves(tmp_path):
    average = Average([network()], scales=(0.5, 1))
    assert segment_video(made_animation(tmp_path / "clip.gif"), tmp_path / "seen.gif", average, frames=1)["frames"] == 3


def test_without_pyav_a_video_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(InputError, match=r"needs PyAV: pip install .*\[video\]"):
        segment_video(tmp_path / "clip.mp4", tmp_path / "seen.mp4", network())


def test_the_command_writes_where_it_says(tmp_path, capsys, monkeypatch):
    from dpn import save

    monkeypatch.chdir(tmp_path)
    made_animation(tmp_path / "clip.gif")
    from dpn.unary import MobileNetV2

    save(DPN(MobileNetV2(labels=2), MRF(2, window=3, context=1), labels=["ground", "square"]), tmp_path / "model.safetensors")
    assert main(["video", "clip.gif", "--model", "model.safetensors", "--write", "labels"]) == 0
    assert "clip.gif: 3 frames: " in capsys.readouterr().out
    assert len(list((tmp_path / "results/clip_labels").iterdir())) == 3
    assert main(["video", "clip.gif", "--model", "model.safetensors", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["frames"], about["out"]) == (3, str(Path("results/clip_overlay.gif")))
    assert len(read(tmp_path / "results/clip_overlay.gif")) == 3


def test_a_clip_of_more_pixels_than_an_image_may_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (200, 100)).save(tmp_path / "clip.gif")
    monkeypatch.setenv("DPN_MAX_MEGAPIXELS", "0.01")
    with (
        pytest.raises(InputError, match=r"clip\.gif: too large to be read safely, 200 x 100 pixels"),
        opened_clip(tmp_path / "clip.gif"),
    ):
        pass

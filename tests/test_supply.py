"""What comes with the package: files by their hashes, licences that are known, and nothing from a network unless asked."""

import importlib.util
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType

import pytest

from dpn.errors import InputError
from dpn.inference.clips import opened_clip

HOME = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HOME / "scripts" / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


lock, audit = script("lock"), script("audit")

PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
LOCKED = lock.read(HOME / "requirements.lock")
PINNED = dict(line.split("==") for line in (HOME / "constraints.txt").read_text().splitlines() if not line.startswith("#"))

PERMISSIVE = {"0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
              "ISC", "MIT", "MIT-CMU", "PSF-2.0", "Zlib"}  # fmt: skip
"""What asks for no more than that its notice stays, by SPDX."""

SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "FreeBSD": "BSD-2-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "Python Software Foundation License": "PSF-2.0",
}
"""What packages write that do not write SPDX's names."""

ODD = {
    "certifi": ("MPL-2.0", "a list of certificates, used unchanged"),
    "hypothesis": ("MPL-2.0", "for tests alone"),
    "orjson": ("MPL-2.0 AND (Apache-2.0 OR MIT)", "of gradio; used unchanged"),
    "pathspec": ("MPL-2.0", "for mypy and hatchling alone"),
    "shtab": ("MPL-2.0", "writes completions for shells; used unchanged"),
    "tqdm": ("MPL-2.0 AND MIT", "of huggingface_hub; used unchanged"),
}
"""{package: (its licence, why it may be here)}: what is changed in their own files would have to be published; nothing is."""

COPYLEFT_INSIDE = {"av": "FFmpeg with x264 and x265, under the GPL; the extras video and dev bring it, this package does not"}
"""{package: what its files hold that its own licence does not say}."""


def dependencies() -> Iterator[Distribution]:
    """Every installed package that this one needs, with any of its extras."""
    seen, ahead = set(), sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"])
    while ahead:
        need = ahead.pop()
        name = lock.normal(re.match(r"[\w.-]+", need)[0])
        if name in seen or "extra ==" in need:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        yield found
        ahead += found.requires or []


DEPENDENCIES = sorted(dependencies(), key=lambda each: lock.normal(each.name))


def licence(package: Distribution) -> str:
    """As its metadata tell, in SPDX's names; several are joined by AND and OR."""
    told = package.metadata
    if written := told.get("License-Expression"):
        return written
    field = (told.get("License") or "").strip()
    short = [field] if field.strip("=") and field != "UNKNOWN" and len(field) < 40 else []
    classified = [each.rpartition(" :: ")[2] for each in told.get_all("Classifier") or [] if each.startswith("License :: OSI")]
    return " AND ".join(SPDX.get(each, each) for each in short or classified) or "none told"


@pytest.mark.parametrize("package", DEPENDENCIES, ids=lambda each: lock.normal(each.name))
def test_a_dependency_s_licence_is_permissive_or_named_with_its_reason(package: Distribution) -> None:
    found, name = licence(package), lock.normal(package.name)
    if name in ODD:
        assert found == ODD[name][0]
    else:
        told = f"{name}: {found}; take another, or name it in ODD with the reason"
        assert set(re.split(" AND | OR ", found)) <= PERMISSIVE, told


def test_a_library_under_the_gpl_lies_in_no_package_that_is_not_named() -> None:
    bundled = re.compile(r"lib(x264|x265|xvid|fftw3|gsl|readline|postproc)\b")
    found = {lock.normal(each.name) for each in DEPENDENCIES for file in each.files or [] if bundled.match(file.name)}
    assert found <= COPYLEFT_INSIDE.keys()


def test_every_package_of_the_lock_has_its_hash_and_is_pinned_alike() -> None:
    pinned = {lock.normal(name): version for name, version in PINNED.items()}
    assert len(LOCKED) > 80
    for (name, version), hashes in LOCKED.items():
        assert pinned.get(name) == version, f"{name}: python scripts/lock.py, and its pin in constraints.txt"
        assert hashes and all(re.fullmatch("[0-9a-f]{64}", each) for each in hashes), name


def test_the_lock_has_what_the_project_asks_for() -> None:
    locked = {name for name, _ in LOCKED}
    for need in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"], "hatchling", lock.EDITABLE]:
        assert lock.normal(re.match(r"[\w.-]+", need)[0]) in locked, "python scripts/lock.py"


@pytest.mark.skipif(not lock.LOCK.read_text().startswith(lock.head()), reason="the lock is for another machine")
def test_the_lock_has_all_that_its_packages_need() -> None:
    from packaging.requirements import Requirement

    locked = {name for name, _ in LOCKED}
    for package in (each for each in DEPENDENCIES if lock.normal(each.name) in locked):
        for need in map(Requirement, package.requires or []):
            if not need.marker or need.marker.evaluate({"extra": ""}):
                assert lock.normal(need.name) in locked, f"{package.name} needs {need.name}: python scripts/lock.py"


def test_another_build_of_the_same_version_adds_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr("sys.argv", ["lock.py"])
    for version, builds in (("2.12", "d"), ("2.13", "a"), ("2.13", "b"), ("2.13", "a")):
        monkeypatch.setattr(lock, "asked", lambda version=version, builds=builds: {("torch", version): set(builds)})
        lock.main()
    assert lock.read(tmp_path / "requirements.lock") == {("torch", "2.13"): {"a", "b"}}
    monkeypatch.setattr("sys.argv", ["lock.py", "--fits"])
    for system, fits in (("Linux", 0), ("Plan 9", "requirements.lock is not for")):
        (tmp_path / "requirements.lock").write_text(lock.head() if system == "Linux" else lock.head().replace("3.", "2."))
        with pytest.raises(SystemExit) as end:
            lock.main()
        assert str(end.value).startswith(str(fits))


def test_a_known_vulnerability_fails_and_a_registry_that_tells_nothing_is_told() -> None:
    sound, unknown = {"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}
    faults = [{"id": "PYSEC-1", "fix_versions": ["2.1"]}, {"id": "PYSEC-2", "fix_versions": []}]
    for dependencies, lines, code in (
        ([sound], ["vulnerabilities: 0 in 1 packages"], 0),
        ([sound, unknown], ["vulnerabilities: 0 in 1 packages", "not checked: b"], 0),
        ([unknown], ["vulnerabilities: not checked, for this registry does not tell of them"], 0),
        ([sound, {"name": "c", "version": "2", "vulns": faults}],
         ["c 2: PYSEC-1, mended in 2.1", "c 2: PYSEC-2, mended in no version", "vulnerabilities: 2 in 2 packages"], 1),
    ):  # fmt: skip
        assert audit.verdict({"dependencies": dependencies}) == (lines, code)


OFFLINE = """
import contextlib, importlib, io, os, pkgutil, socket, sys, warnings

asked = []
sys.addaudithook(lambda event, given: asked.append((event, given[-1])) if event in EVENTS else None)
EVENTS = ("socket.bind", "socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname")

import torch
import dpn
from dpn.cli import main
from dpn.data import photograph, scenes
from dpn.exporting import compare
from dpn.inference.evaluate import measured
from dpn.training import Recipe
from dpn.training.recipe import DataRecipe, StageRecipe, StagesRecipe
from dpn.unary import Wrap

for module in pkgutil.walk_packages(dpn.__path__, "dpn."):
    with contextlib.suppress(ModuleNotFoundError):  # an extra that is not installed
        importlib.import_module(module.name)

os.chdir(sys.argv[1])
with contextlib.redirect_stdout(io.StringIO()):
    dpn.segment(photograph("cat"), size=65).save("results", "cat")
    data, none = (scenes(4, size=32), scenes(2, size=32, split="val")), StageRecipe()
    unary, names = Wrap(torch.nn.Conv2d(3, 10, 3, padding=1), labels=10), data[0].labels
    model = dpn.DPN(unary, dpn.MRF(10, window=5, context=3), labels=names)
    stages = StagesRecipe(none, StageRecipe(1, batch=2, lr=0.1), none, none)
    dpn.train(model, data, Recipe(data=DataRecipe(crop=33, workers=0), stages=stages), out="run")
    measured({"joint": model}, data[1]).table(resamples=2)
    compare.SIZES = ((32, 32),)
    dpn.export(model, "mine.pt2")
    main(["info", "voc"])
print(len([name for name in sys.modules if name.startswith("dpn.")]), asked)
with contextlib.suppress(OSError):
    socket.create_connection(("127.0.0.1", 9), timeout=1)
print(*sorted({event for event, _ in asked}))
"""


def test_no_module_asks_a_network_nor_do_segmenting_training_measuring_and_exporting(tmp_path: Path) -> None:
    answer = subprocess.run([sys.executable, "-c", OFFLINE, tmp_path], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    (modules, asked), heard = (line.split(maxsplit=1) for line in answer.stdout.splitlines()[-2:])
    assert int(modules) > 150 and asked == "[]"
    assert heard == ["socket.connect", "socket.getaddrinfo"]  # that of its last line


@pytest.mark.parametrize("playlist", ["#EXTM3U\n#EXTINF:9,\n{}/a.ts\n", "ffconcat version 1.0\nfile {}/a.mp4\n"])
def test_a_clip_that_is_a_playlist_reaches_no_address(tmp_path: Path, playlist: str) -> None:
    pytest.importorskip("av")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        for name in ("clip.m3u8", "clip.mp4"):
            (tmp_path / name).write_text(playlist.format(f"http://127.0.0.1:{server.getsockname()[1]}"))
            with pytest.raises(InputError, match="not a clip that can be read"), opened_clip(tmp_path / name):
                pass
        with pytest.raises(BlockingIOError):
            server.accept()

"""The page in a browser: every control, a photograph, a mask, a file that is none, and a phone's screen.

The tests need gradio, playwright and chromium, `make test-app`; elsewhere they are skipped.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a page that is served by the command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("app") / "log.txt").open("w")
    process = subprocess.Popen([sys.executable, "-m", "dpn", "app", "--port", str(port)], stdout=log, stderr=log)
    for _ in range(240):
        time.sleep(0.5)
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5)
            break
        except OSError:
            assert process.poll() is None, Path(log.name).read_text()
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with sync_api.sync_playwright() as playwright:
        yield playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def page(address: str, browser) -> Iterator:
    page = browser[1].new_page(viewport={"width": 1280, "height": 1000})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_selector(".dpn-empty")
    yield page
    assert errors == []
    page.close()


def choose(page, number: int) -> None:
    page.locator("#examples .gallery-item").nth(number).click()
    page.wait_for_selector(".dpn-view", timeout=60_000)


def changes(page, act) -> None:
    """Waits until an act has changed what the picture shows."""
    before = page.locator(".dpn-view").get_attribute("data-told")
    act()
    page.wait_for_function("text => document.querySelector('.dpn-view')?.dataset.told !== text", arg=before, timeout=60_000)


def move(page, name: str, value: float) -> None:
    field = page.locator(f"#{name} input[type=number]")
    field.fill(str(value))
    field.press("Enter")


def test_a_photograph_shows_its_labels_and_the_pointer_their_probabilities(page) -> None:
    choose(page, 1)
    assert "cat" in page.locator(".dpn-legend").inner_text()
    box = page.locator(".dpn-view").bounding_box()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.6 * box["height"])
    tip = page.locator(".dpn-tip")
    assert tip.is_visible() and "cat" in tip.inner_text() and "joint tuning" in tip.inner_text()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.6 * box["height"])
    assert "unary" in tip.inner_text()
    page.mouse.move(5, 5)
    assert tip.is_hidden()


def test_the_divider_moves_and_stays_where_it_was(page) -> None:
    choose(page, 0)
    box = page.locator(".dpn-view").bounding_box()
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 20)
    there = float(page.evaluate("document.querySelector('.dpn-view').style.getPropertyValue('--split')").rstrip("%"))
    assert 75 < there < 85
    changes(page, lambda: move(page, "window", 9))
    page.wait_for_timeout(200)
    assert page.evaluate("parseFloat(document.querySelector('.dpn-view').style.getPropertyValue('--split'))") == there


@pytest.mark.parametrize(("name", "value"), [("color", 0.2), ("space", 3), ("window", 7), ("penalty", 0.5)])
def test_every_knob_moves_the_outlines_and_goes_back(page, name: str, value: float) -> None:
    choose(page, 0)
    trained = page.locator(".dpn-view").get_attribute("data-told")
    changes(page, lambda: move(page, name, value))
    changes(page, lambda: page.locator("#trained").click())
    assert page.locator(".dpn-view").get_attribute("data-told") == trained


def test_stages_the_head_s_switch_and_the_opacity(page) -> None:
    choose(page, 0)
    changes(page, lambda: page.get_by_label("+ triple penalty").check())
    assert page.locator(".dpn-right").inner_text() == "+ triple penalty"
    changes(page, lambda: page.get_by_label("Head on (b12 to b15)").uncheck())
    assert page.locator(".dpn-right").inner_text() == "head off"
    told = json.loads(page.locator(".dpn-view").get_attribute("data-told"))
    assert told["likeliest"][0] == told["likeliest"][1]
    picture = page.locator(".dpn-after").get_attribute("src")
    move(page, "opacity", 0)
    page.wait_for_function("text => document.querySelector('.dpn-after')?.src !== text", arg=picture, timeout=60_000)


def test_what_is_shown_can_be_downloaded(page, tmp_path: Path) -> None:
    choose(page, 1)
    files = {}
    for kind in ("labels", "overlay", "json"):
        page.wait_for_function(f"!document.querySelector('#download-{kind}').closest('button, a')?.disabled", timeout=60_000)
        with page.expect_download() as download:
            page.locator(f"#download-{kind}").click()
        files[kind] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[kind])
    labels = np.array(Image.open(files["labels"]))
    assert labels.shape == (300, 451) and (labels == 8).mean() > 0.3
    assert {label["name"] for label in json.loads(files["json"].read_text())["labels"]} >= {"cat"}
    assert Image.open(files["overlay"]).width >= 451


def test_a_coarse_mask_is_sharpened(page, tmp_path: Path) -> None:
    choose(page, 1)
    mask = np.zeros((30, 45), np.uint8)
    mask[6:28, 8:40] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    page.get_by_text("A coarse mask of your own").click()
    changes(page, lambda: page.locator("#mask input[type=file]").set_input_files(tmp_path / "mask.png"))
    page.wait_for_function("document.querySelector('.dpn-right')?.innerText === 'new MRF'", timeout=60_000)
    told = json.loads(page.locator(".dpn-view").get_attribute("data-told"))
    assert told["titles"] == ["mask", "new MRF"] and told["names"] == ["label 0", "label 1"]
    assert told["likeliest"][0] != told["likeliest"][1]


def test_a_file_that_is_no_picture_is_told_and_the_page_goes_on(page, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("no picture")
    page.locator("#photo input[type=file]").first.set_input_files(tmp_path / "photo.jpg")
    page.wait_for_selector("text=photo.jpg is not an image", timeout=60_000)
    assert page.locator(".dpn-empty").is_visible()
    page.reload()
    choose(page, 2)
    assert "motorbike" in page.locator(".dpn-legend").inner_text()


def test_a_phone_s_screen_has_the_picture_before_the_knobs_and_nothing_beside(address: str, browser) -> None:
    playwright, chromium = browser
    phone = chromium.new_page(**playwright.devices["iPhone 13"])
    phone.goto(address)
    phone.wait_for_selector(".dpn-empty")
    choose(phone, 1)
    places = [phone.locator(f"#{name}").bounding_box() for name in ("given", "found", "knobs")]
    assert places[0]["y"] < places[1]["y"] < places[2]["y"]
    assert phone.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert phone.locator(".dpn-view").bounding_box()["width"] > 300
    phone.close()

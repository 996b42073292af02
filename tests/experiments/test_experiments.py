"""Every experiment runs on a tiny network and says what it should; what was done once is not done again."""

import csv
import shutil
import subprocess

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from dpn import DPN, MRF
from dpn.data import SCENE_LABELS
from dpn.errors import InputError
from dpn.experiments import EXPERIMENTS, Scale, run
from dpn.experiments.ablation import AS_IT_IS, variants
from dpn.experiments.calibration import Calibration
from dpn.experiments.flips import flips
from dpn.experiments.operation_counts import counts
from dpn.experiments.report import write_report
from dpn.experiments.result import Result
from dpn.experiments.run import named
from dpn.experiments.study import Study
from dpn.experiments.training import recipes
from dpn.model import STAGES
from dpn.mrf import MRFConfig
from dpn.storage import save
from dpn.unary import UNARY_NETWORKS, MobileNetV2

LOG = "stage,step,loss,lr,miou\nunary,0,,0,0.1\nunary,1,2.0,0.1,\nunary,2,1.0,0.1,0.3\njoint,0,,0,0.3\njoint,1,0.5,0.1,{}\n"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network of the scenes with all four stages, untrained, and small."""
    torch.manual_seed(0)
    mrf = MRF(10, components=2, window=7, context=3, context_dilation=2, context_stride=2)
    model = DPN(MobileNetV2(labels=10), mrf, labels=SCENE_LABELS)
    with torch.no_grad():
        for parameter in model.unary.score.parameters():
            parameter.normal_(0, 3)
    ends = {}
    for stage in STAGES[:-1]:
        ends[stage] = {key: value.clone() for key, value in model.state_dict().items()}
        with torch.no_grad():
            model.mrf.label_contexts.deviation.add_(0.1)
    path = tmp_path_factory.mktemp("network")
    save(model, path / "model.safetensors", earlier=ends)
    (path / "log.csv").write_text(LOG.format(0.5))
    return str(path)


def tiny(network):
    return Scale.fast(model=network, images=2, train_images=3, steps=(2, 2), crop=64, seeds=(0, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, network):
    out = tmp_path_factory.mktemp("experiments")
    (out / "network_joint").mkdir()
    (out / "network_joint" / "log.csv").write_text(LOG.format(0.4))
    for name in ("fcn", "deeplab_large_fov"):
        neighbour = DPN(UNARY_NETWORKS[name](10, width=8), MRF(10), labels=SCENE_LABELS, stage="unary")
        neighbour.save_pretrained(out / name)
    report = out / "page" / "report.html"
    return out, run(["all", *EXPERIMENTS], out, tiny(network), report=report, console=Console(quiet=True))


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_each_writes_its_table_and_pictures(name, folder):
    out, results = folder
    result = results[name]
    with (out / f"{name}.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(result.columns)
    assert len(rows) == len(result.rows) + 1
    assert {len(row) for row in rows} == {len(result.columns)}
    assert result.title in (out / f"{name}.md").read_text()
    for key in result.pictures:
        with Image.open(out / f"{name}_{key}.png") as picture:
            assert min(picture.size) > 50


def test_curves_lay_stages_end_to_end(folder):
    _, results = folder
    assert results["fig6a"].rows == [("incremental", 50.0, 50.0, "3"), ("joint from the start", 40.0, 40.0, "3")]


def test_fcn_and_deeplab_stand_beside_dpn_where_they_were_trained(folder, network, tmp_path):
    _, results = folder
    assert [row[0] for row in results["fig8"].rows] == ["unary of DPN", "FCN", "DeepLab", "DPN"]
    alone = run(["fig8"], tmp_path, tiny(network), console=Console(quiet=True))["fig8"]
    assert [row[0] for row in alone.rows] == ["unary of DPN", "DeepLab's CRF over the unary of DPN", "DPN"]
    with pytest.raises(InputError, match="network_joint: no training run"):
        run(["fig6a"], tmp_path, tiny(network), console=Console(quiet=True))


def test_the_comparison_searches_a_dense_crf_and_times_each_head(folder):
    _, results = folder
    rows = {row[0]: row for row in results["comparison"].rows}
    assert next(iter(rows)) == "unary" and len(rows) == 7
    assert rows["unary"][-1] is None and all(row[-1] > 0 for name, row in rows.items() if name != "unary")
    assert "penalty" in results["comparison"].about
    frozen, end_to_end = (rows[f"CRF-RNN, 5 iterations, {how}"][1:-1] for how in ("unary frozen", "trained end to end"))
    assert frozen != end_to_end


def test_the_control_leaves_the_network_it_began_from_as_it_was(folder, network):
    _, results = folder
    rows = {row[0]: row for row in results["control"].rows}
    assert rows["unary"][1] == pytest.approx(dict(zip(*_columns(results["table2a"]), strict=True))["unary"])
    alone, joint = (next(row for name, row in rows.items() if word in name) for word in ("alone", "jointly"))
    assert alone[3] is None and joint[3] is not None


def test_views_and_networks_are_averaged_and_timed(folder):
    _, results = folder
    rows = {row[0]: row for row in results["test_time"].rows}
    assert rows["joint tuning"][2] is None and len(rows) == 8
    assert all(row[-1] > 0 for row in rows.values())
    seeds = [rows[f"tuned here, seed {seed}"][1] for seed in (0, 1)]
    assert seeds[0] != seeds[1]


def test_flips_are_mended_broken_or_neither():
    before, after, truth = (
        torch.tensor([[0, 1, 1, 2, 0, 1]]),
        torch.tensor([[0, 0, 2, 1, 1, 2]]),
        torch.tensor([[0, 0, 1, 0, 255, 2]]),
    )
    changed, mended, broken = flips(before, after, truth)
    assert changed.tolist() == [[False, True, True, True, False, True]]
    assert mended.tolist() == [[False, True, False, False, False, True]]
    assert broken.tolist() == [[False, False, True, False, False, False]]


def test_outlines_are_measured_with_the_blur_and_without_it(folder):
    _, results = folder
    rows = {row[0]: row for row in results["outlines"].rows}
    for stage in ("+ b12", "+ label contexts"):
        none, once, twice = (rows[f"{stage}, {what}"] for what in ("not blurred", "blurred once", "blurred twice"))
        assert none[2] is None and once[2] is not None
        assert none[5] > once[5] >= twice[5]  # crumbs
        assert none[6] > once[6] > twice[6]  # the length of outlines
    assert rows["unary"][2] is None and len(rows) == 10


def test_pixels_that_change_are_those_between_the_predictions(folder, network):
    out, results = folder
    study = Study(out, tiny(network))
    first, second = list(study.predictions.values())[:2]
    known = {sample.name: sample.labels != 255 for sample in (study.validation.image(i) for i in range(2))}
    changed = sum(int(((first[name] != second[name]) & known[name]).sum()) for name in known)
    _, share, mended, broken, *_ = results["flips"].rows[0]
    assert share == pytest.approx(100 * changed / sum(int(mask.sum()) for mask in known.values()))
    assert mended + broken <= share


def _columns(result):
    return [row[0] for row in result.rows], [row[2] for row in result.rows]


@pytest.mark.parametrize("sureness", [0.8, 1.0, 1.6])
def test_calibration_finds_how_much_too_sure_a_network_is(sureness):
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(1, 4, 100, 100, generator=generator).mul(2).log_softmax(1)
    labels = torch.multinomial(true.exp()[0].flatten(1).T, 1, generator=generator).view(1, 100, 100)
    labels[:, :10] = 255
    calibration = Calibration(labels=4)
    calibration.add((sureness * true).log_softmax(1), labels)
    assert calibration.temperature == pytest.approx(sureness, abs=0.06)
    assert calibration.bins[0].sum() == 9000
    assert calibration.accuracy == (true.argmax(1) == labels)[:, 10:].double().mean()
    assert (calibration.confidence > calibration.accuracy + 0.01) == (sureness > 1)
    if sureness == 1:
        assert all(abs(sure - right) < 3 for sure, right in calibration.curve()[2:])  # per cent; of 1,400 pixels and more


def test_the_unary_is_the_same_in_every_table(folder):
    _, results = folder
    found = {name: next(row for row in results[name].rows if row[0] == "unary")[2] for name in ("table2a", "table2b")}
    found["fig6b"] = results["fig6b"].rows[0][2]
    stages = dict(zip(results["table3"].columns, results["table3"].rows[-1], strict=True))
    found["table3"] = stages["unary"]
    assert np.ptp(list(found.values())) < 1e-9


def test_what_was_done_once_is_not_done_again(folder, network, monkeypatch):
    out, results = folder
    monkeypatch.setattr("dpn.experiments.fitting.Learner", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(MobileNetV2, "scores", lambda *_: pytest.fail("the unary ran again"))
    again = run(["table2a"], out, tiny(network), console=Console(quiet=True))
    assert again["table2a"].rows == results["table2a"].rows


def test_a_folder_holds_one_setting(folder, network):
    out, _ = folder
    with pytest.raises(InputError, match="another setting"):
        run(["table2a"], out, Scale(model=network), console=Console(quiet=True))


def test_all_is_what_the_paper_has():
    tables = ["table2a", "table2b", "table2c", "table3"]
    figures = ["fig4", "fig5", "fig6a", "fig6b", "fig7", "fig8"]
    assert list(named(["all"])) == [*figures, "operation_counts", "runtime", *tables]
    assert list(named(["all", "fig5", "test-time"]))[-1] == "test_time"
    assert list(named(["fig5", "test-time", "fig5"])) == ["fig5", "test_time"]


def test_quick_is_less_of_it():
    assert Scale.fast(data="scenes").seeds == (0, 1) == Scale.seeds[:2]
    assert all(fast < whole for fast, whole in zip(Scale.fast().steps, Scale.steps, strict=True))


def test_one_thing_is_changed_at_a_time():
    changed = dict(variants(MRFConfig(components=1, context_dilation=8, context_stride=8)))
    assert (changed[AS_IT_IS], changed["no b13 (1 x 1)"]) == ({}, {"context": 1})
    assert [stage.steps for stage in dict(recipes(Scale(steps=(40, 200))))["steps, twice"].values()] == [80, 400]


def test_what_cannot_run_is_named(tmp_path, network):
    with pytest.raises(InputError, match="'table9'"):
        run(["table9"], tmp_path, Scale())
    with pytest.raises(InputError, match="need a network trained on it"):
        run(["fig5"], tmp_path, Scale(data="camvid"))


def test_the_papers_own_counts_come_out():
    """Section 3.3: 1.3e11 operations in b12 for a batch of ten; b13 has 3.4 times more."""
    of_paper = counts(21, 5, 50, 9)
    assert 10 * of_paper["b12"] == pytest.approx(1.376e11, rel=1e-3)
    assert of_paper["b13"] / of_paper["b12"] == pytest.approx(3.402, rel=1e-3)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium: apt-get install chromium")
def test_the_page_is_rendered_from_top_to_bottom_in_chromium(folder, tmp_path):
    out, results = folder
    picture = tmp_path / "page.png"
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,9000"]
    page = (out / "page" / "report.html").as_uri()
    subprocess.run([*command, f"--screenshot={picture}", page], check=True, capture_output=True, timeout=120)
    pixels = np.asarray(Image.open(picture).convert("L"))
    assert pixels.shape == (9000, 1100)
    assert pixels.std() > 10
    dom = subprocess.run([*command, "--dump-dom", page], check=True, capture_output=True, timeout=120, text=True).stdout
    assert all(f'id="{name}"' in dom for name in results)


def test_the_page_needs_nothing_but_itself(tmp_path):
    figure = Figure()
    figure.subplots().plot([0, 1])
    pictures = {"line": figure, "red": np.full((9, 9, 3), (255, 0, 0), np.uint8)}
    results = {"one": Result("One <two>", "a & b", ["x", "y"], [["<i>", 0.123]], pictures), "none": "no <data>"}
    write_report(tmp_path / "page.html", results, {"command": "dpn"})
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page
    assert "One &lt;two&gt;" in page and "&lt;i&gt;" in page and "no &lt;data&gt;" in page and "<i>" not in page

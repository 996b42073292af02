"""Peers that are there are called as they want to be called; those that are not are named."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dpn.bench.peers import DENSE_CRF, DenseCRF, conv_crf, crf_rnn, find_peers
from dpn.errors import InputError

CRF_RNN = """
import helper
from torch import nn

class CrfRnn(nn.Module):
    def __init__(self, num_labels, num_iterations=5):
        super().__init__()
        self.labels, self.iterations, self.gain = num_labels, num_iterations, nn.Parameter(helper.one())

    def forward(self, image, logits):
        assert image.shape[1] == 3 and image.max() > 1 and logits.shape[1] == self.labels and self.iterations == 1
        return logits * self.gain
"""
CONV_CRF = """
default_conf = {"filter_size": 11}

class GaussCRF:
    def __init__(self, conf, shape, nclasses, use_gpu):
        assert (conf["filter_size"], shape, nclasses, use_gpu) == (7, (5, 6), 4, False)

    def __call__(self, unary, img, num_iter):
        return unary * num_iter + img.max()
"""


def source(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (path.parent / "__init__.py").touch()
    return folder


def test_what_is_not_there_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    peers = find_peers()
    assert (peers.dense_crf, peers.crf_rnn, peers.conv_crf) == (None, None, None)
    assert sorted(peers.missing) == ["CRF-RNN", "ConvCRF", "pydensecrf"]
    for name, what in {"pydensecrf": ".[peers]", "CRF-RNN": "--crfrnn", "ConvCRF": "--convcrf"}.items():
        assert what in peers.missing[name]


def test_a_crf_rnn_is_run_forwards_and_backwards_from_its_source(tmp_path: Path) -> None:
    source(tmp_path, "crfasrnn/crfrnn.py", CRF_RNN)
    (tmp_path / "crfasrnn" / "helper.py").write_text("import torch\n\ndef one():\n    return torch.tensor(3.0)\n")
    path = list(sys.path)
    peers = find_peers(crfrnn=tmp_path)
    assert sys.path == path and not {"crfasrnn.crfrnn", "helper"} & set(sys.modules)
    assert "CRF-RNN" not in peers.missing
    log_p = torch.rand(1, 4, 5, 6).log_softmax(1)
    of_log_p, of_gain = crf_rnn(peers.crf_rnn, log_p, torch.rand(1, 3, 5, 6))()
    assert torch.equal(of_log_p, torch.full_like(log_p, 3.0))
    torch.testing.assert_close(of_gain, log_p.sum())


def test_conv_crf_is_run_as_its_demo_runs_it(tmp_path: Path) -> None:
    peers = find_peers(convcrf=source(tmp_path, "convcrf/convcrf.py", CONV_CRF))
    log_p, image = torch.rand(1, 4, 5, 6).log_softmax(1), torch.ones(1, 3, 5, 6)
    torch.testing.assert_close(conv_crf(peers.conv_crf, log_p, image)(), log_p * 5 + 255)


def test_a_folder_that_does_not_serve_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--convcrf .*no convcrf/convcrf.py in it"):
        find_peers(convcrf=tmp_path)
    with pytest.raises(InputError, match=r"--crfrnn .*cannot be imported \(No module named 'not_built'\)"):
        find_peers(crfrnn=source(tmp_path, "crfasrnn/crfrnn.py", "import not_built"))


def test_pydensecrf_setup_and_iterations_are_its_inference() -> None:
    module = pytest.importorskip("pydensecrf.densecrf", reason="needs the extra peers")
    random = np.random.default_rng(0)
    log_p = np.log(random.dirichlet(np.ones(4), (20, 30)).transpose(2, 0, 1)).astype(np.float32)
    pixels = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for parameters in DENSE_CRF.values():
        crf = DenseCRF(module, log_p, pixels, parameters)
        for count in (1, 5):
            q, *_ = crf.iterations(count)()
            np.testing.assert_allclose(np.array(q), crf.whole(count)(), atol=1e-6)
        crf.setup()(), crf.step()()

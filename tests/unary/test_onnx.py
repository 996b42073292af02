"""What onnxruntime makes of a file is what the network in it says, whatever its order of axes and its size."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from dpn import DPN, MRF, load, save
from dpn.errors import InputError
from dpn.unary import ONNXNetwork, Wrap, made_by

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32)
IMAGE = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
EXPECTED = torch.einsum("lc,nchw->nlhw", torch.from_numpy(WEIGHTS[:, :, 0, 0]), IMAGE)


def written(path: Path, shape: list, *, last: bool = False) -> Path:
    """A 1x1 convolution to four scores, which takes images of this shape."""
    nodes = [helper.make_node("Conv", ["image", "weights"], ["scores"])]
    scores: list = [shape[0], 4, *shape[2:]]
    if last:
        shape, scores = [shape[0], *shape[2:], 3], [shape[0], *shape[2:], 4]
        nodes = [
            helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["first", "weights"], ["found"]),
            helper.make_node("Transpose", ["found"], ["scores"], perm=[0, 2, 3, 1]),
        ]
    graph = helper.make_graph(
        nodes,
        "scores",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, scores)],
        [numpy_helper.from_array(WEIGHTS, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [["n", 3, "h", "w"], [1, 3, "h", "w"], [1, 3, 6, 8]])
def test_the_scores_are_the_network_s(tmp_path: Path, shape: list, last: bool) -> None:
    network = ONNXNetwork(written(tmp_path / "net.onnx", shape, last=last))
    assert network.labels == 4
    torch.testing.assert_close(network(IMAGE), EXPECTED)


def test_an_image_is_resized_where_the_file_fixes_its_size(tmp_path: Path) -> None:
    network = made_by(str(written(tmp_path / "net.onnx", [1, 3, 3, 4])))
    assert isinstance(network, Wrap) and network.scores(IMAGE).shape == (2, 4, 3, 4) and network(IMAGE).shape == (2, 4, 6, 8)


def test_what_is_no_network_of_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        ONNXNetwork(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_bytes(b"not a network")
    with pytest.raises(InputError, match=r"net\.onnx: no network that onnxruntime reads"):
        ONNXNetwork(tmp_path / "net.onnx")
    four = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "four",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 8])],
    )
    onnx.save(helper.make_model(four, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "four.onnx")
    with pytest.raises(InputError, match=r"must take one image, \(N,3,H,W\) or \(N,H,W,3\), but takes x \[1, 4, 6, 8\]"):
        ONNXNetwork(tmp_path / "four.onnx")


def test_it_is_copied_and_loaded_with_a_head(tmp_path: Path) -> None:
    network = ONNXNetwork(written(tmp_path / "net.onnx", ["n", 3, "h", "w"]))
    model = DPN(Wrap(network, 4), MRF(4, window=5)).eval()
    save(model, tmp_path / "model.safetensors")
    with torch.inference_mode():
        assert torch.equal(load(tmp_path / "model.safetensors", unary=network)(IMAGE), model(IMAGE))

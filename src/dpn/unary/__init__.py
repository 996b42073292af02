"""b1 to b11: what each pixel looks like. Image (N,3,H,W) -> log p (N,L,H,W)."""

from dpn.unary.base import UNARY_NETWORKS, UnaryNetwork
from dpn.unary.deeplab_large_fov import DeepLabLargeFOV
from dpn.unary.fcn import FCN
from dpn.unary.foreign import made_by
from dpn.unary.fused import fuse
from dpn.unary.mobilenet_v2 import MobileNetV2
from dpn.unary.mobilenet_v2_pyramid import MobileNetV2Pyramid
from dpn.unary.onnx import ONNXNetwork
from dpn.unary.vgg16 import VGG16
from dpn.unary.wrap import Wrap

__all__ = [
    "FCN",
    "UNARY_NETWORKS",
    "VGG16",
    "DeepLabLargeFOV",
    "MobileNetV2",
    "MobileNetV2Pyramid",
    "ONNXNetwork",
    "UnaryNetwork",
    "Wrap",
    "fuse",
    "made_by",
]

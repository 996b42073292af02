"""Data sets, the files they are read from, and their augmentation."""

from dpn.data.ade20k import ade20k
from dpn.data.camvid import camvid
from dpn.data.cityscapes import cityscapes
from dpn.data.coco import coco
from dpn.data.dataset import Sample, SegmentationData, unique_stems
from dpn.data.download import get as download
from dpn.data.folder import folder
from dpn.data.images import PHOTOGRAPHS, VOID, photograph, read_image, rgb, to_tensor
from dpn.data.label_map import LabelMap
from dpn.data.labels import read_labels
from dpn.data.listing import list_images
from dpn.data.masks import read_mask
from dpn.data.palette import CAMVID_LABELS, VOC_LABELS, camvid_palette, voc_palette
from dpn.data.registry import DATA_SETS, DataSet, data_sets_help, open_data
from dpn.data.scenes import SCENE_LABELS, scenes
from dpn.data.transforms import Augment
from dpn.data.voc import voc

__all__ = [
    "CAMVID_LABELS",
    "DATA_SETS",
    "PHOTOGRAPHS",
    "SCENE_LABELS",
    "VOC_LABELS",
    "VOID",
    "Augment",
    "DataSet",
    "LabelMap",
    "Sample",
    "SegmentationData",
    "ade20k",
    "camvid",
    "camvid_palette",
    "cityscapes",
    "coco",
    "data_sets_help",
    "download",
    "folder",
    "list_images",
    "open_data",
    "photograph",
    "read_image",
    "read_labels",
    "read_mask",
    "rgb",
    "scenes",
    "to_tensor",
    "unique_stems",
    "voc",
    "voc_palette",
]

"""How good a segmentation is, over a whole data set."""

from dpn.metrics.bootstrap import BootstrapResult, paired_bootstrap
from dpn.metrics.boundary import BoundaryBand, boundary_band
from dpn.metrics.confusion import MeanIoU, confusion_matrix, iou
from dpn.metrics.evaluation import Evaluation
from dpn.metrics.object_metric import LocalizationAccuracy, TaggingAccuracy
from dpn.metrics.outlines import BoundaryAccuracy, BoundaryF
from dpn.metrics.scores import Scores
from dpn.metrics.table import Row, Table

__all__ = [
    "BootstrapResult",
    "BoundaryAccuracy",
    "BoundaryBand",
    "BoundaryF",
    "Evaluation",
    "LocalizationAccuracy",
    "MeanIoU",
    "Row",
    "Scores",
    "Table",
    "TaggingAccuracy",
    "boundary_band",
    "confusion_matrix",
    "iou",
    "paired_bootstrap",
]

"""How good a segmentation is, over a whole data set."""

from dpn.metrics.bootstrap import BootstrapResult, paired_bootstrap
from dpn.metrics.boundary import BoundaryBand, boundary_band
from dpn.metrics.boundary_accuracy import BoundaryAccuracy
from dpn.metrics.boundary_f import BoundaryF
from dpn.metrics.confusion import confusion_matrix, iou
from dpn.metrics.evaluation import Evaluation
from dpn.metrics.localization import LocalizationAccuracy
from dpn.metrics.mean_iou import MeanIoU
from dpn.metrics.scores import Scores
from dpn.metrics.table import Row, Table
from dpn.metrics.tagging import TaggingAccuracy

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

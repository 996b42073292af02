"""b12 to b15: from what each pixel looks like to what it can be among its neighbours."""

from dpn.mrf.aligned_penalty import AlignedPenalty
from dpn.mrf.config import MRFConfig
from dpn.mrf.crf_loss import DenseCRFLoss
from dpn.mrf.label_contexts import LabelContexts, LowRankContexts
from dpn.mrf.mean_field import MRF
from dpn.mrf.presets import PRESETS, Preset
from dpn.mrf.special_cases import crf_rnn, deeplab, dense_crf, dsn
from dpn.mrf.surgery import changed, compress, exact
from dpn.mrf.triple_penalty import TriplePenalty

__all__ = [
    "MRF",
    "PRESETS",
    "AlignedPenalty",
    "DenseCRFLoss",
    "LabelContexts",
    "LowRankContexts",
    "MRFConfig",
    "Preset",
    "TriplePenalty",
    "changed",
    "compress",
    "crf_rnn",
    "deeplab",
    "dense_crf",
    "dsn",
    "exact",
]

"""Pictures of images, labels, training and what the label contexts have learned."""

from dpn.plots.colours import colourise, save_mask
from dpn.plots.contexts import compatibility, context_patterns
from dpn.plots.curves import training_curves
from dpn.plots.legend import legend
from dpn.plots.overlay import overlay, tint
from dpn.plots.panels import panels
from dpn.plots.strip import strip

__all__ = [
    "colourise",
    "compatibility",
    "context_patterns",
    "legend",
    "overlay",
    "panels",
    "save_mask",
    "strip",
    "tint",
    "training_curves",
]

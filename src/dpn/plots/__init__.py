"""Pictures of images, labels, training and what the label contexts have learned."""

from dpn.plots.colours import save_mask
from dpn.plots.contexts import compatibility, context_patterns
from dpn.plots.curves import training_curves
from dpn.plots.overlay import overlay
from dpn.plots.panels import panels

__all__ = ["compatibility", "context_patterns", "overlay", "panels", "save_mask", "training_curves"]

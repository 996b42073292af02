"""The rooms whose files register things are imported first, so that the examples of one file alone see them all."""

import dpn.data
import dpn.experiments
import dpn.functional
import dpn.unary  # noqa: F401

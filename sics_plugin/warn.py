"""Warnings that point at the user's own line."""

from __future__ import annotations

import sys
import warnings


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn as from the first frame outside this package and torch's prune module, however deep the call came from."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(("sics_plugin.", "torch.nn.utils.prune")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)

"""Pruning scorers that plug into ``torch.nn.utils.prune``.

Two lines on a model of your own::

    from torch.nn.utils import prune
    from sics_plugin import SICSChaos, prunable_parameters
    prune.global_unstructured(prunable_parameters(model), pruning_method=SICSChaos, amount=0.7)

A better mask takes a saliency from a few batches: ``saliency=Saliency(model, batches, loss).vector(params)``.
"""

from sics_plugin.checked import global_unstructured
from sics_plugin.masks import clone_pruned, current_masks, export_masks, finalize, install_mask, load_masks, mask_hash, masked
from sics_plugin.methods import (
    CoordinateUnresolvedWarning,
    SICSAdaptive,
    SICSBump,
    SICSChaos,
    SICSFake,
    SICSGradient,
    SICSInformation,
    SICSLog,
    SICSMagnitude,
    SICSMethod,
    SICSPower,
    SICSRandom,
    SICSSmoothChaos,
    SICSSmoothMouse,
    SICSWiggle,
    method_for,
)
from sics_plugin.model import VanishedLayerWarning, compute_masks, prune_model, prune_to_sparsity
from sics_plugin.registry import (
    Scorer,
    Units,
    build_scorer,
    get_scorer,
    list_scorers,
    register_scorer,
    unregister_scorer,
)
from sics_plugin.report import LayerSparsity, PruningReport
from sics_plugin.saliency import Saliency
from sics_plugin.scorers import CoordinateScorer, MagnitudeScorer, RankScorer
from sics_plugin.targets import prunable_parameters
from sics_plugin.vectors import SaliencyVector

__all__ = [
    "CoordinateScorer",
    "CoordinateUnresolvedWarning",
    "LayerSparsity",
    "MagnitudeScorer",
    "PruningReport",
    "RankScorer",
    "SICSAdaptive",
    "SICSBump",
    "SICSChaos",
    "SICSFake",
    "SICSGradient",
    "SICSInformation",
    "SICSLog",
    "SICSMagnitude",
    "SICSMethod",
    "SICSPower",
    "SICSRandom",
    "SICSSmoothChaos",
    "SICSSmoothMouse",
    "SICSWiggle",
    "Saliency",
    "SaliencyVector",
    "Scorer",
    "Units",
    "VanishedLayerWarning",
    "build_scorer",
    "clone_pruned",
    "compute_masks",
    "current_masks",
    "export_masks",
    "finalize",
    "get_scorer",
    "global_unstructured",
    "install_mask",
    "list_scorers",
    "load_masks",
    "mask_hash",
    "masked",
    "method_for",
    "prunable_parameters",
    "prune_model",
    "prune_to_sparsity",
    "register_scorer",
    "unregister_scorer",
]

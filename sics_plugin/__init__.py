"""Pruning scorers that plug into ``torch.nn.utils.prune``.

Two lines on a model of your own::

    from torch.nn.utils import prune
    from sics_plugin import SICSChaos, prunable_parameters
    prune.global_unstructured(prunable_parameters(model), pruning_method=SICSChaos, amount=0.7)

A better mask takes a saliency from a few batches: ``saliency=Saliency(model, batches, loss).vector(params)``.
"""

import sics_plugin.old_names  # noqa: F401  (for its effect)
from sics_plugin.network.discovery import find_groups
from sics_plugin.network.groups import ChannelGroup, Slice, channel_group
from sics_plugin.network.masks import (
    clone_pruned,
    current_masks,
    export_masks,
    finalize,
    install_mask,
    load_masks,
    mask_hash,
    masked,
)
from sics_plugin.network.rebuild import load_shrunk, remove_units, removed_units
from sics_plugin.network.shrink import shrink
from sics_plugin.network.targets import prunable_parameters
from sics_plugin.network.unit_masks import unit_masks
from sics_plugin.pruning.calibration import Calibration, held_out_accuracy, held_out_loss
from sics_plugin.pruning.channels import channel_saliency, compute_channel_masks, prune_channels
from sics_plugin.pruning.report import ChannelReport, LayerSparsity, PruningReport
from sics_plugin.pruning.weights import VanishedLayerWarning, compute_masks, prune_model, prune_n_m, prune_to_sparsity
from sics_plugin.saliency.collection import Saliency
from sics_plugin.scorers.adaptive import AdaptiveTable
from sics_plugin.scorers.base import AdaptiveChoice, Scorer, Trial
from sics_plugin.scorers.contract import ContractError, check_scorer
from sics_plugin.scorers.coordinate import SharedRanks
from sics_plugin.scorers.peers import PeerScorer
from sics_plugin.scorers.registry import build_scorer, get_scorer, list_scorers, register_scorer, unregister_scorer
from sics_plugin.scorers.sics import CoordinateScorer, MagnitudeScorer, RankScorer
from sics_plugin.scorers.units import SaliencyVector, Units
from sics_plugin.torch_methods.base import CoordinateUnresolvedWarning
from sics_plugin.torch_methods.global_unstructured import global_unstructured
from sics_plugin.torch_methods.n_of_m import SICSNofM
from sics_plugin.torch_methods.structured import (
    SICSStructured,
    SICSStructuredAdaptive,
    SICSStructuredBump,
    SICSStructuredChaos,
    SICSStructuredFake,
    SICSStructuredGradient,
    SICSStructuredInformation,
    SICSStructuredLog,
    SICSStructuredMagnitude,
    SICSStructuredPower,
    SICSStructuredRandom,
    SICSStructuredSmoothChaos,
    SICSStructuredSmoothMouse,
    SICSStructuredWiggle,
    structured_method_for,
)
from sics_plugin.torch_methods.unstructured import (
    SICSRIA,
    SICSAdaptive,
    SICSBump,
    SICSChaos,
    SICSFake,
    SICSFisher,
    SICSGradient,
    SICSGrasp,
    SICSInformation,
    SICSLamp,
    SICSLog,
    SICSMagnitude,
    SICSMethod,
    SICSPower,
    SICSRandom,
    SICSRelativeImportance,
    SICSSensitivity,
    SICSSmoothChaos,
    SICSSmoothMouse,
    SICSSnip,
    SICSSynFlow,
    SICSTaylor,
    SICSWanda,
    SICSWiggle,
    method_for,
)

__all__ = [
    "SICSRIA",
    "AdaptiveChoice",
    "AdaptiveTable",
    "Calibration",
    "ChannelGroup",
    "ChannelReport",
    "ContractError",
    "CoordinateScorer",
    "CoordinateUnresolvedWarning",
    "LayerSparsity",
    "MagnitudeScorer",
    "PeerScorer",
    "PruningReport",
    "RankScorer",
    "SICSAdaptive",
    "SICSBump",
    "SICSChaos",
    "SICSFake",
    "SICSFisher",
    "SICSGradient",
    "SICSGrasp",
    "SICSInformation",
    "SICSLamp",
    "SICSLog",
    "SICSMagnitude",
    "SICSMethod",
    "SICSNofM",
    "SICSPower",
    "SICSRandom",
    "SICSRelativeImportance",
    "SICSSensitivity",
    "SICSSmoothChaos",
    "SICSSmoothMouse",
    "SICSSnip",
    "SICSStructured",
    "SICSStructuredAdaptive",
    "SICSStructuredBump",
    "SICSStructuredChaos",
    "SICSStructuredFake",
    "SICSStructuredGradient",
    "SICSStructuredInformation",
    "SICSStructuredLog",
    "SICSStructuredMagnitude",
    "SICSStructuredPower",
    "SICSStructuredRandom",
    "SICSStructuredSmoothChaos",
    "SICSStructuredSmoothMouse",
    "SICSStructuredWiggle",
    "SICSSynFlow",
    "SICSTaylor",
    "SICSWanda",
    "SICSWiggle",
    "Saliency",
    "SaliencyVector",
    "Scorer",
    "SharedRanks",
    "Slice",
    "Trial",
    "Units",
    "VanishedLayerWarning",
    "build_scorer",
    "channel_group",
    "channel_saliency",
    "check_scorer",
    "clone_pruned",
    "compute_channel_masks",
    "compute_masks",
    "current_masks",
    "export_masks",
    "finalize",
    "find_groups",
    "get_scorer",
    "global_unstructured",
    "held_out_accuracy",
    "held_out_loss",
    "install_mask",
    "list_scorers",
    "load_masks",
    "load_shrunk",
    "mask_hash",
    "masked",
    "method_for",
    "prunable_parameters",
    "prune_channels",
    "prune_model",
    "prune_n_m",
    "prune_to_sparsity",
    "register_scorer",
    "remove_units",
    "removed_units",
    "shrink",
    "structured_method_for",
    "unit_masks",
    "unregister_scorer",
]

# Models saved whole and queued jobs name a class by its module: the public one, whichever file it lives in.
for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
del _name

"""Pruning scorers that plug into ``torch.nn.utils.prune``.

Two lines on a model of your own::

    from torch.nn.utils import prune
    from sics_plugin import SICSChaos, prunable_parameters
    prune.global_unstructured(prunable_parameters(model), pruning_method=SICSChaos, amount=0.7)

A better mask takes a saliency from a few batches: ``saliency=Saliency(model, batches, loss).vector(params)``.
"""

from sics_plugin.adaptive import AdaptiveChoice, AdaptiveTable, Trial
from sics_plugin.channel_discovery import find_groups
from sics_plugin.channel_groups import ChannelGroup, Slice, channel_group
from sics_plugin.channel_masks import unit_masks
from sics_plugin.channel_report import ChannelReport
from sics_plugin.channels import channel_saliency, compute_channel_masks, prune_channels
from sics_plugin.checked import global_unstructured
from sics_plugin.contract import ContractError, check_scorer
from sics_plugin.held_out import Calibration
from sics_plugin.held_out_scores import held_out_accuracy, held_out_loss
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
from sics_plugin.model import VanishedLayerWarning, compute_masks, prune_model, prune_n_m, prune_to_sparsity
from sics_plugin.peer_methods import (
    SICSRIA,
    SICSFisher,
    SICSGrasp,
    SICSLamp,
    SICSNofM,
    SICSRelativeImportance,
    SICSSensitivity,
    SICSSnip,
    SICSSynFlow,
    SICSTaylor,
    SICSWanda,
)
from sics_plugin.peers import PeerScorer
from sics_plugin.rebuilding import load_shrunk, remove_units, removed_units
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
from sics_plugin.sharing import SharedRanks
from sics_plugin.shrinking import shrink
from sics_plugin.structured_methods import (
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
from sics_plugin.targets import prunable_parameters
from sics_plugin.vectors import SaliencyVector

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

"""Pruning scorers that plug into ``torch.nn.utils.prune``.

Two lines on a model of your own::

    from torch.nn.utils import prune
    from sics_plugin import SICSChaos, prunable_parameters
    prune.global_unstructured(prunable_parameters(model), pruning_method=SICSChaos, amount=0.7)

A better mask takes a saliency from a few batches: ``saliency=Saliency(model, batches, loss).vector(params)``.
"""

import sics_plugin.old_names  # noqa: F401  (for its effect)
from sics_plugin.channels.discovery import find_groups as find_groups
from sics_plugin.channels.groups import ChannelGroup as ChannelGroup
from sics_plugin.channels.groups import Slice as Slice
from sics_plugin.channels.groups import channel_group as channel_group
from sics_plugin.channels.rebuild import load_shrunk as load_shrunk
from sics_plugin.channels.rebuild import remove_units as remove_units
from sics_plugin.channels.rebuild import removed_units as removed_units
from sics_plugin.channels.shrink import shrink as shrink
from sics_plugin.channels.unit_masks import unit_masks as unit_masks
from sics_plugin.network.mask_files import export_masks as export_masks
from sics_plugin.network.mask_files import load_masks as load_masks
from sics_plugin.network.masks import clone_pruned as clone_pruned
from sics_plugin.network.masks import current_masks as current_masks
from sics_plugin.network.masks import install_mask as install_mask
from sics_plugin.network.masks import mask_hash as mask_hash
from sics_plugin.network.masks import mask_zeros as mask_zeros
from sics_plugin.network.masks import masked as masked
from sics_plugin.network.permanent import finalize as finalize
from sics_plugin.network.prunable import Coverage as Coverage
from sics_plugin.network.prunable import coverage as coverage
from sics_plugin.network.prunable import prunable_parameters as prunable_parameters
from sics_plugin.pruning.calibrating.calibration import Calibration as Calibration
from sics_plugin.pruning.calibrating.evaluate import held_out_accuracy as held_out_accuracy
from sics_plugin.pruning.calibrating.evaluate import held_out_loss as held_out_loss
from sics_plugin.pruning.calibrating.evaluate import like_dense as like_dense
from sics_plugin.pruning.calibrating.trials import Trials as Trials
from sics_plugin.pruning.calibrating.weight_search import Evaluated as Evaluated
from sics_plugin.pruning.calibrating.weight_search import FusionSearch as FusionSearch
from sics_plugin.pruning.channels import channel_saliency as channel_saliency
from sics_plugin.pruning.channels import compute_channel_masks as compute_channel_masks
from sics_plugin.pruning.channels import prune_channels as prune_channels
from sics_plugin.pruning.plan import VanishedLayerWarning as VanishedLayerWarning
from sics_plugin.pruning.report import ChannelReport as ChannelReport
from sics_plugin.pruning.report import LayerSparsity as LayerSparsity
from sics_plugin.pruning.report import PruningReport as PruningReport
from sics_plugin.pruning.to_sparsity import prune_to_sparsity as prune_to_sparsity
from sics_plugin.pruning.weights import compute_masks as compute_masks
from sics_plugin.pruning.weights import prune_model as prune_model
from sics_plugin.pruning.weights import prune_n_m as prune_n_m
from sics_plugin.saliency.collection import Saliency as Saliency
from sics_plugin.scorers.adaptive import AdaptiveTable as AdaptiveTable
from sics_plugin.scorers.base import AdaptiveChoice as AdaptiveChoice
from sics_plugin.scorers.base import Scorer as Scorer
from sics_plugin.scorers.base import Trial as Trial
from sics_plugin.scorers.contract import ContractError as ContractError
from sics_plugin.scorers.contract import check_scorer as check_scorer
from sics_plugin.scorers.coordinate import SharedRanks as SharedRanks
from sics_plugin.scorers.fusion import FeatureSet as FeatureSet
from sics_plugin.scorers.fusion import Fusion as Fusion
from sics_plugin.scorers.peers import PeerScorer as PeerScorer
from sics_plugin.scorers.registry import build_scorer as build_scorer
from sics_plugin.scorers.registry import get_scorer as get_scorer
from sics_plugin.scorers.registry import list_scorers as list_scorers
from sics_plugin.scorers.registry import register_scorer as register_scorer
from sics_plugin.scorers.registry import unregister_scorer as unregister_scorer
from sics_plugin.scorers.sics import CoordinateScorer as CoordinateScorer
from sics_plugin.scorers.sics import MagnitudeScorer as MagnitudeScorer
from sics_plugin.scorers.sics import RankScorer as RankScorer
from sics_plugin.scorers.units import SaliencyVector as SaliencyVector
from sics_plugin.scorers.units import Units as Units
from sics_plugin.torch_methods.base import CoordinateUnresolvedWarning as CoordinateUnresolvedWarning
from sics_plugin.torch_methods.fusion import SICSFusion as SICSFusion
from sics_plugin.torch_methods.fusion import search_fusion as search_fusion
from sics_plugin.torch_methods.global_unstructured import global_unstructured as global_unstructured
from sics_plugin.torch_methods.n_of_m import SICSNofM as SICSNofM
from sics_plugin.torch_methods.structured import *  # noqa: F403  (its `__all__`)
from sics_plugin.torch_methods.unstructured import *  # noqa: F403

#: The public face: all classes and functions above.
__all__ = [_name for _name, _value in list(globals().items()) if callable(_value)]

# Pickles and queued jobs name a class by its module: the public one, whichever file it lives in.
for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__

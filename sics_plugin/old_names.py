"""Where 0.1.0, whose modules lay flat, had what pickles and imports name: models and results saved whole still load."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

#: Module of then → today's with its classes. A module that is moved again, and has classes that are not public, joins.
MOVED: dict[str, tuple[str, ...]] = {
    "adaptive": ("scorers.adaptive",),
    "channel_discovery": ("channels.discovery",),
    "channel_groups": ("channels.groups",),
    "channel_masks": ("channels.unit_masks",),
    "channel_report": ("pruning.report",),
    "channels": ("pruning.channels",),
    "chaos": ("scorers.spectra",),
    "checked": ("torch_methods.global_unstructured",),
    "complexity_result": ("complexity.result",),
    "contract": ("scorers.contract",),
    "held_out": ("pruning.calibrating.evaluate", "pruning.calibrating.calibration"),
    "held_out_scores": ("pruning.calibrating.evaluate",),
    "masks": ("network.masks", "network.permanent", "network.mask_files"),
    "method_base": ("torch_methods.base",),
    "methods": ("torch_methods.unstructured",),
    "model": ("pruning.weights",),
    "peer_methods": ("torch_methods.unstructured", "torch_methods.n_of_m"),
    "peers": ("scorers.peers",),
    "rebuilding": ("channels.rebuild",),
    "registry": ("scorers.units", "scorers.base", "scorers.registry"),
    "report": ("pruning.report",),
    "saliency": ("saliency.collection",),
    "scorers": ("scorers.sics", "scorers.adaptive"),
    "sharing": ("scorers.coordinate",),
    "shrinking": ("channels.shrink",),
    "structured_methods": ("torch_methods.structured",),
    "targets": ("network.targets", "network.prunable"),
    "vectors": ("scorers.units",),
}

for _old, _rooms in MOVED.items():
    _path = f"sics_plugin.{_old}"
    _module = sys.modules.setdefault(_path, ModuleType(_path, __doc__))  # some names are packages today
    for _room in _rooms:
        for _name, _value in vars(import_module(f"sics_plugin.{_room}")).items():
            if callable(_value):
                vars(_module).setdefault(_name, _value)
    vars(sys.modules["sics_plugin"]).setdefault(_old, _module)

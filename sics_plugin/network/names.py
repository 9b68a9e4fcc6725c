"""Names of modules and parameters that do not depend on what a model is wrapped in.

A wrapper is known by its class, wherever in the model it sits: what it wraps has the wrapper's own path. So a mask, its hash and
a saliency have the same names with and without DataParallel or ``torch.compile``, and a child that is really called ``module``
keeps its name.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from typing import Any

from torch import nn

#: Where a wrapper's class is written, its name, and the attributes that hold what it wraps. A library that is not loaded wraps
#: nothing here.
WRAPPERS = (
    ("torch.nn", "DataParallel", ("module",)),
    ("torch.nn.parallel", "DistributedDataParallel", ("module",)),
    ("torch._dynamo.eval_frame", "OptimizedModule", ("_orig_mod",)),
    ("torch.optim.swa_utils", "AveragedModel", ("module",)),
    ("torch.distributed.fsdp", "FullyShardedDataParallel", ("_fsdp_wrapped_module",)),
    ("torch.distributed.algorithms._checkpoint.checkpoint_wrapper", "ActivationWrapper", ("_checkpoint_wrapped_module",)),
    ("lightning.fabric.wrappers", "_FabricModule", ("_forward_module", "_original_module")),
    ("lightning_fabric.wrappers", "_FabricModule", ("_forward_module", "_original_module")),
    ("lightning.pytorch.plugins.precision.double", "LightningDoublePrecisionModule", ("module",)),
    ("pytorch_lightning.plugins.precision.double", "LightningDoublePrecisionModule", ("module",)),
)


def plain_modules(model: nn.Module, *, remove_duplicate: bool = True) -> Iterator[tuple[str, nn.Module]]:
    """As ``model.named_modules()``, by paths without wrappers: a wrapper and what it wraps have one path, the wrapper first.

    Raises
    ------
    ValueError
        If two modules that do not wrap each other would have one path.

    Examples
    --------
    >>> model = nn.Sequential(nn.DataParallel(nn.Linear(2, 2)), nn.ReLU())
    >>> [(path, type(module).__name__) for path, module in plain_modules(model)]
    [('', 'Sequential'), ('0', 'DataParallel'), ('0', 'Linear'), ('1', 'ReLU')]
    """
    loaded = [(loaded_class(place, name), attributes) for place, name, attributes in WRAPPERS]
    classes = [(cls, attributes) for cls, attributes in loaded if cls is not None]
    known: dict[str, tuple[str, tuple[str, ...]]] = {}  # full path → plain path, and the children that are what it wraps
    owner: dict[str, tuple[str, nn.Module]] = {}  # plain path → the innermost module of it
    for full, module in model.named_modules(remove_duplicate=remove_duplicate):
        parent, _, own = full.rpartition(".")
        above, wrapped = known.get(parent, (parent, ())) if full else ("", ())
        inside = own in wrapped
        plain = above if inside or not full else joined(above, own)
        known[full] = plain, next((attributes for cls, attributes in classes if isinstance(module, cls)), ())
        first, found = owner.get(plain, ("", None))
        if found is module:
            continue  # one that a wrapper holds twice
        if found is not None and not inside:
            raise ValueError(f"two modules are called {plain!r} without their wrappers, {first} and {full}: rename one of them")
        owner[plain] = full, module
        yield plain, module


def plain_paths(model: nn.Module) -> dict[int, str]:
    """The path of every module by its id, as in :func:`plain_modules`."""
    return {id(module): path for path, module in plain_modules(model)}


def joined(path: str, name: str) -> str:
    """The name in a model of what is called ``name`` in its module ``path``.

    >>> joined("blocks.0", "weight"), joined("", "weight")
    ('blocks.0.weight', 'weight')
    """
    return f"{path}.{name}" if path else name


def dense_name(module: nn.Module, stored: str) -> str:
    """The name of a module's own parameter where nothing is pruned: ``weight_orig`` beside a ``weight_mask`` is ``weight``."""
    # "_orig" alone is not torch's prune: the old spectral_norm uses it too.
    dense = stored.removesuffix("_orig")
    return dense if f"{dense}_mask" in module._buffers else stored


def loaded_class(place: str, name: str) -> type[Any] | None:
    """A class of a library that may not be imported; one that is not cannot have made a module."""
    found = getattr(sys.modules.get(place), name, None)
    return found if isinstance(found, type) else None


def is_a(module: nn.Module, place: str, name: str) -> bool:
    """Whether a module is of a class of such a library."""
    found = loaded_class(place, name)
    return found is not None and isinstance(module, found)


def listed(names: Collection[str], most: int = 4) -> str:
    """A few names, and how many more there are.

    >>> listed(["a", "b", "c", "d", "e", "f"])
    'a, b, c, d and 2 more'
    """
    shown = list(names)[:most]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")

"""What of a model is pruned by default, what is left out, and what share of its weights that covers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, takewhile
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from sics_plugin.network.callers import readers
from sics_plugin.network.layouts import CONVOLUTIONS, is_depthwise, kind_of_weight, layout_of
from sics_plugin.network.names import dense_name, joined, listed, plain_modules, plain_paths
from sics_plugin.network.targets import (
    Parameter,
    Target,
    all_targets,
    check_target,
    check_values,
    checked_pairs,
    computed_by,
    is_pair,
)
from sics_plugin.warn import warn_caller

#: Which modules the head is: itself, or a path in the model.
Heads = nn.Module | str | Iterable[nn.Module | str]

HEAD = "head"
PATCHES = "patch embedding"
DEPTHWISE = "depthwise convolution"
UNCALLED = "read without calling its layer"
PARAMETRISED = "parametrised"
ADAPTER = "adapter"
EMBEDDING = "embedding"
#: What users may not expect to be left out, and how it comes in.
_SAID = {
    DEPTHWISE: "depthwise=True lists them",
    UNCALLED: "a pruning hook there would not run; prune_model(model, ..., params=prunable_parameters(model, uncalled=True)) "
    "masks them where they are read",
    PARAMETRISED: "a mask would not reach the parameter itself; remove the parametrisation first",
    ADAPTER: "prune the base weights, and merge adapters before or mask again after",
}
#: Below this share of what is neither embedding nor head, a prune of the model is less than its sparsity says.
LOW_COVERAGE = 0.8
#: Children that are the head wherever they stand, and those that are where no other with weights comes after them.
_HEADS = ("head", "heads", "classifier", "aux_classifier", "lm_head", "qa_outputs")
#: Endings of children that are a head each, where the last of them has one of these.
_SIDE_BY_SIDE = (("_head",), ("_classifier",), ("_score", "_pred", "_logits", "_reg"))
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_ENDS = (*_HEADS, "fc", "fc_out", "score", "out", "output", "outputs")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Weights of one kind that a list does not name: how many, and of which parameters."""

    kind: str
    weights: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What share of a model's matrix weights a list of parameters covers.

    A matrix weight is an entry of a parameter with at least two dimensions longer than 1; tied ones count once.

    Attributes
    ----------
    covered, total : int
        Weights in the list, and all.
    left_out : tuple of LeftOut
        The others by kind, the largest first.
    """

    covered: int
    total: int
    left_out: tuple[LeftOut, ...] = ()

    @property
    def share(self) -> float:
        """Covered of all matrix weights."""
        return self.covered / self.total if self.total else 0.0

    @property
    def share_of_layers(self) -> float:
        """Covered of what is neither an embedding, of tokens, positions or patches, nor the head."""
        others = self.total - sum(part.weights for part in self.left_out if part.kind in (EMBEDDING, HEAD, PATCHES))
        return self.covered / others if others else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the share."""
        return asdict(self) | {"share": self.share, "left_out": [asdict(p) | {"names": list(p.names)} for p in self.left_out]}

    def __str__(self) -> str:
        named = {HEAD, PATCHES}  # found by what they are: the reader sees which
        left = ", ".join(
            f"{part.kind} {part.weights:,}" + (f" ({listed(part.names)})" if part.kind in named else "") for part in self.left_out
        )
        share = f"covers {self.covered:,} of {self.total:,} matrix weights ({100 * self.share:.1f} %)"
        return f"{share}; left out: {left}" if left else share


def prunable_parameters(
    model: nn.Module, *, head: Heads | None = None, depthwise: bool = False, uncalled: bool = False
) -> list[Parameter]:
    """The weights pruned by default: all matrices that layers multiply with, but the head and what does not belong in one pool.

    These are the weights of ``nn.Linear``, convolutions and transposed convolutions, ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN``, the
    input projections of ``nn.MultiheadAttention``, ``Conv1D`` of ``transformers``, and experts kept as 3-D parameters. Norms,
    biases and embeddings stay. What else is left out, and warned of:

    ================================  ==========================================================================================
    depthwise convolutions            a filter of nine weights is all that a channel has; ranked with the rest they ruin a network
    read without calling its layer    ``F.linear(x, self.qkv.weight)``: the pruning hook of ``qkv`` would never run
    parametrised                      ``weight_norm`` and the like compute the weight anew at every call
    adapters                          LoRA and the like of ``peft``
    ================================  ==========================================================================================

    The first convolution is left out where its stride equals its kernel (a patch embedding), the head where it is what makes the
    output: ``get_classifier()`` (timm), ``get_output_embeddings()`` or what stands beside the ``base_model`` (``transformers``);
    else the last linear layer or convolution of the children called ``head``, ``fc``, ``classifier`` or the like, or of the last,
    with those right before it that read the same (actor and critic). :func:`coverage` has what is found; name it if it is wrong.

    Parameters
    ----------
    model : nn.Module
    head : nn.Module, str, or several of them, optional
        The output layers, or their paths, instead of those that are found. ``()``: there is none, all is pruned.
    depthwise : bool
        List depthwise convolutions, too.
    uncalled : bool
        List what is read without calling its layer, too: for ``prune_model(model, ..., params=...)``, which masks it where it is
        read. torch's own functions cannot.

    Returns
    -------
    list of (module, name)
        In the order of ``model.named_modules()``, ready for ``prune.global_unstructured``.

    Raises
    ------
    ValueError
        If nothing is left to prune, or ``head`` is not in the model.

    Examples
    --------
    >>> mlp = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    >>> prunable_parameters(mlp)
    [(Linear(in_features=8, out_features=16, bias=True), 'weight')]
    >>> len(prunable_parameters(mlp, head=()))
    2
    """
    wanted = {kind for kind, asked in ((DEPTHWISE, depthwise), (UNCALLED, uncalled)) if asked}
    chosen: list[Parameter] = []
    warned: dict[str, list[str]] = {}
    _check_model(model)
    _check_whole(model)
    kinds = list(_classified(model, head))
    for target, reasons in kinds:
        against = [kind for kind in reasons if kind not in wanted]
        if not against:
            chosen.append((target.module, target.name))
        elif against[0] in _SAID:
            warned.setdefault(against[0], []).append(target.path)
    if not chosen:
        raise ValueError(
            f"there is nothing to prune in this {type(model).__name__} beside its head: name the parameters as (module, name) "
            "pairs, or prune the head as well with head=()"
        )
    for kind, names in warned.items():
        warn_caller(f"left out, {kind}: {listed(names)}; {_SAID[kind]}")
    found = _covered(kinds, chosen)
    if found.share_of_layers < LOW_COVERAGE:
        warn_caller(str(found))
    return chosen


def coverage(model: nn.Module, parameters: Iterable[Parameter | str] | None = None, *, head: Heads | None = None) -> Coverage:
    """What share of a model's matrix weights a list covers (default: its :func:`prunable_parameters`), and what it leaves out.

    The list is of (module, name) pairs or paths, as ``params=`` of :func:`~sics_plugin.prune_model` takes it.

    Examples
    --------
    >>> lm = nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 100))
    >>> print(coverage(lm))
    covers 128 of 2,528 matrix weights (5.1 %); left out: head 1,600 (3.weight), embedding 800
    """
    _check_model(model)
    kinds = list(_classified(model, head))
    if parameters is None:
        return _covered(kinds, [(target.module, target.name) for target, reasons in kinds if not reasons])
    return _covered(kinds, checked_pairs(params_of(model, parameters, "parameters")))


def _covered(kinds: Sequence[tuple[Target, tuple[str, ...]]], pairs: Iterable[Parameter]) -> Coverage:
    """What a list covers of matrix weights that are classified already."""
    listed = {id(Target(module, name, name).parameter) for module, name in pairs}
    sizes = {id(target.parameter): target.parameter.numel() for target, _ in kinds}
    left: dict[str, dict[str, int]] = {}
    counted = set(listed)
    for target, reasons in kinds:
        if (own := id(target.parameter)) not in counted:  # tied ones count once, as what they are first
            counted.add(own)
            left.setdefault(reasons[0] if reasons else "not listed", {})[target.path] = sizes[own]
    parts = [LeftOut(kind, sum(own.values()), tuple(own)) for kind, own in left.items()]
    parts.sort(key=lambda part: -part.weights)
    covered = sum(sizes.get(own, 0) for own in listed)
    return Coverage(covered, covered + sum(part.weights for part in parts), tuple(parts))


def _check_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"Expected `model` to be an nn.Module, got {type(model).__name__}")


def _check_whole(model: nn.Module) -> None:
    """Refuse layers whose weight is no parameter of theirs, as with FSDP: left out of a list they would go unsaid."""
    for path, module in plain_modules(model):
        if kind_of_weight(module, "weight", 0) is not None and computed_by(module, "weight") is None:
            _ = Target(module, "weight", joined(path, "weight")).parameter


def _classified(model: nn.Module, head: Heads | None) -> Iterator[tuple[Target, tuple[str, ...]]]:
    """Every matrix weight of a model, under each of its names, and why it is left out by default: for no reason, it is not."""
    for target, parameter in all_targets(model):
        if is_lazy(parameter):
            check_values(parameter, target.path)
    alone = kind_of_weight(model, "weight", 0) is not None  # a layer by itself is no network with a head
    found = _named(model, head) if head is not None else () if alone else _output_layers(model)
    heads = {id(m) for m in found}
    adapters = {id(m) for m in _adapters(model)}
    read_above = {(id(reader.module), reader.name) for reader in readers(model)}
    embeddings = {id(p) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) for p in m.parameters()}
    convolutions = [m for m in model.modules() if isinstance(m, CONVOLUTIONS)]
    patches = [m for m in convolutions[:1] if m.kernel_size == m.stride and max(m.kernel_size) > 1]
    for target, parameter in all_targets(model):
        module, name = target.module, target.name
        kind = kind_of_weight(module, name, parameter.dim())
        if kind is None and sum(length > 1 for length in parameter.shape) < 2:
            continue
        reasons = (
            (ADAPTER, id(module) in adapters),
            (EMBEDDING, id(parameter) in embeddings or (kind is None and _is_table(name, parameter))),
            (_unknown(module, name), kind is None),
            (HEAD, id(module) in heads),
            (PATCHES, module in patches),
            (PARAMETRISED, kind is not None and _is_standardised(module)),
            (DEPTHWISE, is_depthwise(module)),
            (UNCALLED, (id(module), name) in read_above),
        )
        yield target, tuple(reason for reason, holds in reasons if holds)


def _is_standardised(module: nn.Module) -> bool:
    """Whether a convolution standardises its weight at every call, as timm's and transformers' classes of these names do."""
    return any(word in cls.__name__ for cls in type(module).__mro__ for word in ("StdConv", "WeightStandardized"))


def _is_table(name: str, parameter: Tensor) -> bool:
    """Whether a parameter of no layer is a table of positions or tokens, which all samples share."""
    return parameter.shape[0] == 1 and any(word in name for word in ("pos", "embed", "token"))


def _unknown(module: nn.Module, name: str) -> str:
    """What a matrix is that no known kind of layer multiplies with."""
    computed = isinstance(module, ParametrizationList) or computed_by(module, name.rpartition("_")[0]) is not None
    return PARAMETRISED if computed else f"parameters of {type(module).__name__}"


def _adapters(model: nn.Module) -> Iterator[nn.Module]:
    """Modules that an adapter library put beside the model's own layers."""
    for module in model.modules():
        names = (
            *getattr(module, "adapter_layer_names", ()),
            *(("original_module",) if hasattr(module, "modules_to_save") else ()),
        )
        for name in names:
            child = module._modules.get(name)
            if child is not None:
                yield from child.modules()


def _named(model: nn.Module, head: Heads) -> Iterator[nn.Module]:
    """The modules that a user calls the head, with all that is in them."""
    by_path = dict(plain_modules(model))
    inside = {id(module) for module in by_path.values()}
    listed = [head] if isinstance(head, nn.Module | str) else head
    if not isinstance(listed, Iterable):
        raise TypeError(f"Expected `head` to be a module, its path, or a list of them, () for none; got {head!r:.60}")
    for one in listed:
        found = by_path.get(one) if isinstance(one, str) else one
        if not isinstance(found, nn.Module) or id(found) not in inside:
            what = repr(one) if isinstance(one, str) else f"a {type(one).__name__}"
            raise ValueError(f"Expected `head` to be a module of this {type(model).__name__} or the path of one, got {what}")
        yield from found.modules()


def _output_layers(module: nn.Module, *, in_head: bool = False) -> list[nn.Module]:
    """The layers that make the output of a network: what it says of itself, else those of its children by name and order.

    A layer is its own; what torch builds of several (LSTM, attention, Transformer) gives features, not outputs. A list
    ``in_head`` holds heads side by side, as a detector has one for each scale.
    """
    if kind_of_weight(module, "weight", 0) is not None:
        return [module]
    if type(module).__module__.startswith("torch.nn.modules") and not isinstance(module, _CONTAINERS):
        return []
    said = _said_heads(module)
    if said is not None:
        return said
    children = list(module.named_children())
    weighty = [position for position, (_, child) in enumerate(children) if _has_weights(child)]
    if not weighty:
        return []
    last = weighty[-1]
    alike = next((ends for ends in _SIDE_BY_SIDE if children[last][0].endswith(ends)), ())
    found = [
        (name, child)
        for position, (name, child) in enumerate(children)
        if name in _HEADS or (position >= last and name in _ENDS) or (alike and name.endswith(alike))
    ]
    heads = [one for name, child in found for one in (child.children() if _side_by_side(name, child) else (child,))]
    if in_head and isinstance(module, nn.ModuleList) and not _one_after_another(module):
        heads = [child for _, child in children]
    inside = in_head or bool(heads)
    if not heads:
        final = children[last][1]
        before = [] if isinstance(module, _CONTAINERS) else [children[position][1] for position in reversed(weighty[:-1])]
        heads = [*reversed([*takewhile(lambda child: _beside(child, final), before)]), final]
    return [layer for child in heads for layer in _output_layers(child, in_head=inside)]


def _one_after_another(layers: nn.ModuleList) -> bool:
    """Whether every layer of a list reads as many inputs as the one before it gives; of blocks of layers that is not known."""
    sizes = [size for layer in layers if (size := _gives_and_reads(layer)) is not None]
    return len(sizes) == len(layers) and all(reads == gives for (gives, _), (_, reads) in pairwise(sizes))


def _beside(child: nn.Module, final: nn.Module) -> bool:
    """Whether a layer reads what the last one reads and cannot feed it: actor beside critic, classes beside boxes."""
    one, other = _gives_and_reads(child), _gives_and_reads(final)
    if one is None or other is None:
        return False
    gives, reads = one
    return reads == other[1] != gives and gives % reads != 0  # query, key and value in one give thrice what they read


def _gives_and_reads(layer: nn.Module) -> tuple[int, int] | None:
    """How many outputs a layer has and how many inputs one of them reads; None of what is no layer."""
    own, layout = _dense_names(layer).get("weight"), layout_of(layer, "weight")
    if own is None or layout is None:
        return None
    gives, reads, *_ = layout.shape_of_rows(own.shape)
    return gives, reads


def _side_by_side(name: str, child: nn.Module) -> bool:
    """Whether a child that is called the head holds one for each task; else its layers come one after another."""
    return isinstance(child, nn.ModuleDict) or (isinstance(child, nn.ModuleList) and name == "heads")


def _said_heads(module: Any) -> list[nn.Module] | None:
    """What a model of timm, transformers or peft says its head is; None where it says nothing."""
    if callable(inner := getattr(module, "get_base_model", None)):
        return _output_layers(inner())
    if callable(getter := getattr(module, "get_classifier", None)):
        found = getter()
        heads = found if isinstance(found, tuple | list) else [found]
        return [part for head in heads if isinstance(head, nn.Module) for part in head.modules()]
    if callable(getter := getattr(module, "get_output_embeddings", None)) and hasattr(module, "base_model"):
        if isinstance(found := getter(), nn.Module):
            return list(found.modules())
        base = module.base_model
        return [] if base is module else [layer for m in module.children() if m is not base for layer in _output_layers(m)]
    return None


def _has_weights(module: nn.Module) -> bool:
    return any(kind_of_weight(m, name, p.dim()) is not None for m in module.modules() for name, p in _dense_names(m).items())


def _dense_names(module: nn.Module) -> dict[str, Tensor]:
    """Parameters of one module by the names they have where nothing is pruned."""
    return {dense_name(module, stored): p for stored, p in module._parameters.items() if p is not None}


def resolve_targets(parameters: nn.Module | Iterable[Parameter], params: Iterable[Parameter | str] | None = None) -> list[Target]:
    """Checked targets with names, in the order given; a model stands for its :func:`prunable_parameters`, or for its ``params``.

    Parameters that are one tensor under several names (tied weights) are all returned; see :func:`without_ties`. Without a
    model to name them, the first pair is called ``[0].weight``.
    """
    if isinstance(parameters, nn.Module):
        pairs = prunable_parameters(parameters) if params is None else params_of(parameters, params)
        return _checked(pairs, plain_paths(parameters))
    if params is not None:
        raise TypeError("Expected `params` beside a model, got them beside a list of (module, name) pairs")
    return _checked(parameters, None)


def params_of(model: nn.Module, params: Iterable[Parameter | str], argument: str = "params") -> list[Parameter]:
    """The parameters of a model that a list names, as (module, name) pairs or paths such as ``"blocks.0.mlp.fc1.weight"``."""
    if isinstance(params, str | Tensor) or not isinstance(params, Iterable):
        raise TypeError(f"Expected `{argument}` to be (module, name) pairs or paths of parameters, got {type(params).__name__}")
    inside = {id(module) for module in model.modules()}
    by_path = {target.path: (target.module, target.name) for target, _ in all_targets(model, remove_duplicate=False)}
    found = []
    for one in params:
        pair = by_path.get(one) if isinstance(one, str) else one
        if pair is None:
            raise ValueError(f"Expected `{argument}` to name parameters of this {type(model).__name__}, got {one!r}")
        if is_pair(pair) and id(pair[0]) not in inside:
            what = f"{pair[1]!r} of a {type(pair[0]).__name__} outside it"
            raise ValueError(f"Expected `{argument}` of this {type(model).__name__}, got {what}")
        found.append(pair)
    return found


def _checked(parameters: Iterable[Parameter], paths: dict[int, str] | None) -> list[Target]:
    targets: list[Target] = []
    seen: set[tuple[int, str]] = set()
    for position, (module, name) in enumerate(checked_pairs(parameters)):
        if (id(module), name) in seen:
            raise ValueError(f"{type(module).__name__}.{name} is listed twice in `parameters`, again at position {position}")
        seen.add((id(module), name))
        path = f"[{position}]" if paths is None else paths[id(module)]
        target = Target(module, name, joined(path, name))
        check_target(target, refreshed=paths is not None)
        targets.append(target)
    if not targets:
        raise ValueError("Expected at least one (module, name) pair in `parameters`, got none")
    return targets


def divisible(parameters: Sequence[Parameter], m: int) -> tuple[list[Parameter], list[Parameter]]:
    """Those whose rows (for convolutions, input channels) ``m`` divides, so that an N:M mask exists; and the others.

    >>> stem, body = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)
    >>> [[type(module).__name__ for module, _ in some] for some in divisible([(stem, "weight"), (body, "weight")], 4)]
    [['Linear'], ['Conv2d']]
    """
    one: list[Parameter] = []
    other: list[Parameter] = []
    for module, name in parameters:
        layout = layout_of(module, name)
        shape = Target(module, name, name).parameter.shape
        fits = layout is not None and layout.shape_of_rows(shape)[1] % m == 0
        (one if fits else other).append((module, name))
    return one, other

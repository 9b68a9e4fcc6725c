"""Which code computes a network: the compact form for small plain vision transformers on the CPU, the module itself otherwise.

Decided from the settings alone, without torch, since it is part of every key.
"""

from __future__ import annotations

from dataclasses import dataclass

from sics_cli.experiment.config import ModelConfig

#: Above so many parameters the arithmetic outweighs what the compact form saves.
COMPACT_LIMIT = 2_000_000
#: What timm's VisionTransformer does unless told otherwise, for the options the compact form knows.
_DEFAULTS = {
    "img_size": 224,
    "patch_size": 16,
    "in_chans": 3,
    "num_classes": 1000,
    "embed_dim": 768,
    "depth": 12,
    "num_heads": 12,
    "mlp_ratio": 4.0,
    "global_pool": "token",
    "class_token": True,
}


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is "compact" or "plain"; `reason` says why in a few words."""

    path: str
    reason: str


def route_of(model: ModelConfig, device_class: str, precision: str = "fp32") -> Route:
    """Choose the path for a network on "cpu" or "cuda", trained in this precision.

    Examples
    --------
    >>> route_of(ModelConfig("vit"), "cpu")
    Route(path='plain', reason='the network has a class token')
    """
    if device_class != "cpu":
        return Route("plain", f"on {device_class}")
    if precision != "fp32":
        return Route("plain", f"trained in {precision}")
    options = {**_DEFAULTS, **dict(model.options)}
    unknown = sorted(set(options) - set(_DEFAULTS))
    if model.name != "vit":
        return Route("plain", f"not a vit but {model.name}")
    if unknown:
        return Route("plain", f"model.{unknown[0]} is set")
    if options["class_token"] or options["global_pool"] != "avg":
        return Route("plain", "the network has a class token" if options["class_token"] else "pooling is not avg")
    try:
        count = parameter_count(options)
    except (TypeError, ValueError, ZeroDivisionError):
        return Route("plain", "sizes that do not fit")
    if count > COMPACT_LIMIT:
        return Route("plain", f"{count / 1e6:.1f} M parameters, above {COMPACT_LIMIT / 1e6:g} M")
    return Route("compact", f"{count:,} parameters")


def parameter_count(options: dict[str, object]) -> int:
    """Parameters of a plain vision transformer with average pooling.

    Raises
    ------
    ValueError, TypeError
        The sizes do not make one.
    """
    image, patch, channels, classes, dim, depth, heads = (
        _whole(options[name]) for name in ("img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "num_heads")
    )
    if image % patch or dim % heads:
        raise ValueError("sizes do not divide")
    hidden = int(dim * float(options["mlp_ratio"]))  # type: ignore[arg-type]
    block = 4 * dim * dim + 4 * dim + 2 * dim * hidden + hidden + dim + 4 * dim
    entry = (image // patch) ** 2 * dim + channels * patch * patch * dim + dim
    return entry + depth * block + 2 * dim + (dim + 1) * classes


def multiply_adds(model: ModelConfig) -> int | None:
    """Multiplications of one example's way through a vision transformer, or None for another network.

    Attention itself, a small part for few tokens, is not counted.

    Examples
    --------
    >>> multiply_adds(ModelConfig("vit", (("img_size", 8), ("patch_size", 2), ("in_chans", 1), ("embed_dim", 64), ("depth", 4))))
    3149824
    """
    options = {**_DEFAULTS, **dict(model.options)}
    try:
        tokens = (_whole(options["img_size"]) // _whole(options["patch_size"])) ** 2
        dim, depth = _whole(options["embed_dim"]), _whole(options["depth"])
        hidden = int(dim * float(options["mlp_ratio"]))  # type: ignore[arg-type]
        entry = _whole(options["in_chans"]) * _whole(options["patch_size"]) ** 2 * dim
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return tokens * (depth * (4 * dim * dim + 2 * dim * hidden) + entry) if model.name == "vit" else None


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} is not a count")
    return value

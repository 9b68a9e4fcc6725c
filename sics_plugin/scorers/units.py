"""From tensors to :class:`~sics_plugin.Units`: magnitudes and a saliency of the same length, both checked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sics_plugin.scorers.coordinate import neighbourhood


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What is ranked against each other: one pool of n units.

    Parameters
    ----------
    magnitude : Tensor, shape (n,)
        float32 or wider, not negative.
    saliency : Tensor, shape (n,), optional
        An auxiliary signal per unit; without one, coordinate scorers use the neighbourhood magnitude.
    saliency_kind : str, optional
        Where the saliency comes from ("gradient", "activation", "supplied", …); None without one.
    """

    magnitude: Tensor
    saliency: Tensor | None = None
    saliency_kind: str | None = None

    def coordinate_saliency(self) -> Tensor:
        """The saliency, or its data-free default."""
        return self.saliency if self.saliency is not None else neighbourhood(self.magnitude)


class SaliencyVector(Tensor):
    """A plain tensor of shape (n,) with a ``kind``; results of operations on it are plain tensors again.

    The kind matters where a scorer refuses any other (``gradient``) and to the default strength α.

    Examples
    --------
    >>> v = SaliencyVector(torch.ones(3), kind="gradient")
    >>> v.kind, type(v * 2).__name__
    ('gradient', 'Tensor')
    """

    kind: str
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, values: Tensor, kind: str) -> SaliencyVector:  # noqa: D102
        vector = values.detach().as_subclass(cls)
        vector.kind = kind
        return vector

    def __init__(self, values: Tensor, kind: str) -> None:
        super().__init__()

    def __deepcopy__(self, memo: dict[int, object]) -> SaliencyVector:
        return SaliencyVector(self.as_subclass(Tensor).clone(), kind=self.kind)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"SaliencyVector(n={self.numel()}, kind={self.kind!r})"


def magnitude_of(values: Tensor) -> Tensor:
    """|values| as a detached vector in float32 or wider, shape (n,); NaN and infinities are refused.

    >>> magnitude_of(torch.tensor([[-2.0, 0.5]], dtype=torch.bfloat16)).dtype
    torch.float32
    """
    if not values.is_floating_point():
        raise TypeError(f"Expected a floating point tensor to prune, got {values.dtype}")
    flat = values.detach().reshape(-1)
    flat = flat if flat.dtype == torch.float64 else flat.to(torch.float32)
    if flat.numel() == 0:
        raise ValueError("Expected at least one unit to rank, got none: the tensor is empty or already pruned away")
    magnitude = flat.abs()
    finite = torch.isfinite(magnitude)
    if not bool(finite.all()):
        raise ValueError(f"Expected finite values to prune, got {int((~finite).sum())} NaN or infinite of {flat.numel()}")
    return magnitude


def units_of(values: Tensor, saliency: Tensor | None) -> Units:
    """Bring weights (or scores standing for them) and a saliency of the same length together, both checked."""
    magnitude = magnitude_of(values)
    if saliency is None:
        return Units(magnitude)
    if not isinstance(saliency, Tensor):
        raise TypeError(f"Expected `saliency` to be a tensor from Saliency.vector(params), got {type(saliency).__name__}")
    vector = check_saliency(saliency, magnitude.numel()).to(magnitude.device)
    return Units(magnitude, vector if vector.dtype == torch.float64 else vector.float(), kind_of(saliency))


def kind_of(saliency: Tensor) -> str:
    """What a saliency vector says it is; "supplied" if it says nothing."""
    return saliency.kind if isinstance(saliency, SaliencyVector) else "supplied"


def check_saliency(saliency: Tensor, n: int) -> Tensor:
    """The saliency of n units as a plain vector; refused when it is of another length or type, NaN or infinite.

    >>> check_saliency(torch.ones(2, 1), 2).shape
    torch.Size([2])
    """
    vector = check_length(saliency, n)
    finite = torch.isfinite(vector)
    if not bool(finite.all()):
        raise ValueError(f"Expected a finite `saliency`, got {int((~finite).sum())} NaN or infinite of {vector.numel()}")
    return vector


def check_length(saliency: Tensor, n: int) -> Tensor:
    """As :func:`check_saliency`, but for what takes a look at every value."""
    vector = saliency.detach().as_subclass(Tensor).reshape(-1)
    if vector.numel() != n:
        raise ValueError(
            f"Expected `saliency` of length {n}, one value per unit that is still there, got {vector.numel()}: "
            "build it with Saliency.vector(params) from the same parameters in the same order"
        )
    if not vector.is_floating_point():
        raise TypeError(f"Expected `saliency` of a floating point type, got {vector.dtype}")
    return vector

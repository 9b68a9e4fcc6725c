"""Whether a network meets in one place what it is fed in another, by digests of the examples."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from sics_cli.tasks.results import Evaluation, agree, are_of_one_set

#: Examples that are looked at, at most: enough to show one set in another.
_EXAMPLES = 20_000
#: So few examples may be in two sets by chance.
_HANDFUL = 5
#: Of the examples of an evaluation at least so many have an input of their own, where inputs tell examples apart.
_ALONE = 0.9
#: One tensor's part of an example; an example is its parts.
Part = bytes


@dataclass(frozen=True, slots=True)
class Share:
    """How many different examples two sets have in common, and how many each has."""

    both: int
    one: int
    other: int

    @property
    def smaller(self) -> int:
        """How many examples the smaller set has."""
        return min(self.one, self.other)


class Met:
    """Digests of the examples in all that was added.

    An example is one row of all tensors that are as long as each other. Tensors of another length are a set of their own, such as
    the points of a grid beside the functions that are asked for there: `sets` has one for each length, in the order in which the
    first call meets them. `rows` are the parts of several different numbers. `whole` says that nothing was left out: neither what
    cannot be read, nor more than can be looked at.

    >>> one, two = Met(), Met()
    >>> one.add((torch.eye(3), torch.arange(3)))
    >>> two.add({"x": torch.eye(3)[1:], "y": torch.arange(1, 3)})
    >>> one.met_again(two)
    Share(both=2, one=3, other=2)
    """

    def __init__(self) -> None:
        self.sets: list[set[tuple[Part, ...]]] = []
        self.rows: set[Part] = set()
        self.whole = True
        self._looked_at: list[int] = []

    def add(self, value: Any) -> None:
        """Add a batch, or the arguments of a network; never an error of its own, since it is asked amid the code of a user."""
        try:
            self._add(value)
        except Exception:  # inside a transform or a trace of torch's, or of a type without bytes of its own
            self.whole = False

    def _add(self, value: Any) -> None:
        by_length: dict[int, list[torch.Tensor]] = {}
        for tensor in _tensors(value):
            by_length.setdefault(len(tensor), []).append(tensor.detach())
        for place, (length, tensors) in enumerate(by_length.items()):
            if place == len(self.sets):
                self.sets.append(set())
                self._looked_at.append(0)
            count = min(length, _EXAMPLES - self._looked_at[place])
            self._looked_at[place] += count
            self.whole &= count == length
            if count:
                self._add_rows(self.sets[place], [tensor[:count] for tensor in tensors])

    def _add_rows(self, examples: set[tuple[Part, ...]], tensors: list[torch.Tensor]) -> None:
        several = [tensor[0].numel() > 1 for tensor in tensors]
        if several == [False]:
            return  # one number is no example
        for parts in zip(*map(_parts, tensors), strict=True):
            rows = {part for (part, blank), is_row in zip(parts, several, strict=True) if is_row and not blank}
            if rows or not any(several):  # what is blank proves nothing
                examples.add(tuple(part for part, _ in parts))
                self.rows |= rows

    def forget(self) -> None:
        """Be as if nothing had been added, and say that something was."""
        self.sets, self.rows, self._looked_at, self.whole = [], set(), [], False

    @property
    def digest(self) -> str | None:
        """Of all of them, whatever their order; None where there are none."""
        found = sorted(b"".join(example) for one in self.sets for example in one)
        return hashlib.blake2b(b"".join(found), digest_size=16).hexdigest() if found else None

    def met_again(self, other: Met) -> Share:
        """How many of these were added to the other too.

        Of several sets the one with the least in common counts: a grid that all examples share makes none of them another's.
        """
        alone = Share(0, max(map(len, self.sets), default=0), 0)
        return min(self.shares(other), key=lambda share: (share.both / share.smaller, share.smaller), default=alone)

    def shares(self, other: Met) -> list[Share]:
        """The same of each set that both have."""
        pairs = zip(self.sets, other.sets, strict=False)
        return [Share(len(one & two), len(one), len(two)) for one, two in pairs if one and two]

    def handed_over_in(self, batches: Met) -> Share:
        """How many of these are in batches, which have more in them than a network is fed: by their rows.

        A row that every example has, such as the places of tokens, tells none from another.
        """
        handed = max(map(len, batches.sets), default=0)
        shares = []
        for examples in filter(None, self.sets):
            common = set.intersection(*map(set, examples)) if len(examples) > 1 else set()
            telling = [self.rows.intersection(example) - common for example in examples]
            seen = sum(bool(rows) and rows <= batches.rows for rows in telling)
            shares.append(Share(min(seen, handed), len(examples), handed))
        return min(shares, key=lambda share: share.both / share.one, default=Share(0, 0, handed))

    @contextlib.contextmanager
    def watching(self, network: nn.Module) -> Iterator[None]:
        """Add what `network` is fed in the block."""
        watcher = _Watcher(self)
        hook = network.register_forward_pre_hook(watcher, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()
            watcher.met = None


class _Watcher:
    """Adds what a network is fed. A copy of the network is watched as well, one that is sent elsewhere is not."""

    def __init__(self, met: Met | None = None) -> None:
        self.met = met

    def __call__(self, _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if self.met is not None:
            self.met.add((*arguments, *named.values()))

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[type[_Watcher], tuple[()]]:
        return _Watcher, ()


def is_one_set(held: Met, tested: Met, found: Evaluation, evaluated: Evaluation) -> bool:
    """Whether held-out examples are those of an evaluation: by what a network is fed, and by what it does on them.

    Where some of the smaller set are others, they are not. Where it lies in the other, what the network does must agree: a graph
    whose nodes are parted is fed whole both times. Inputs that are not as many as the examples do not tell these apart. Then, and
    where nobody sees what is fed, only each number in its order can.
    """
    shares = held.shares(tested)
    lies_in = all(share.both == share.smaller for share in shares)
    if not lies_in and held.whole and tested.whole:
        return False
    if are_of_one_set(found, evaluated):
        return True
    many = [share for share in shares if share.both > _HANDFUL]
    tell = any(_is_about(found.n, share.one) and _is_about(evaluated.n, share.other) for share in many)
    return lies_in and tell and agree(found, evaluated)


def _is_about(examples: int | None, inputs: int) -> bool:
    """Whether there is an input for each example, but for some that are there twice or are blank."""
    return examples is None or _ALONE * examples <= inputs <= examples


def _parts(tensor: torch.Tensor) -> Iterator[tuple[Part, bool]]:
    """Of each row the digest, and whether it is one number over and over."""
    plain = tensor.cpu().resolve_conj().resolve_neg().contiguous()
    size = plain.element_size()
    for row in plain.reshape(len(plain), -1).view(torch.uint8).numpy():
        numbers = row.reshape(-1, size)
        yield hashlib.blake2b(row.tobytes(), digest_size=8).digest(), bool((numbers == numbers[0]).all())


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Those of rows that can be read."""
    if isinstance(value, torch.Tensor):
        if value.layout is torch.strided and value.dim() and value.numel() and not value.is_meta:
            yield value
    elif isinstance(value, Mapping | tuple | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)

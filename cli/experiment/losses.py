"""How often jobs ended without bringing a seed further, and when that seed is given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sics_cli.experiment.errors import WorkersLostError

#: How often in a row a seed's jobs may end without bringing it further.
MAX_LOSSES = 3


class Losses:
    """Counts, seed by seed.

    Attributes
    ----------
    given_up : dict of int to str
        Seeds that are not tried again, and what their last job said.
    """

    def __init__(self) -> None:
        self.given_up: dict[int, str] = {}
        self._in_a_row: Counter[int] = Counter()

    @property
    def doubted(self) -> set[int]:
        """Seeds whose last job brought nothing: the next they have to themselves, lest another's fault be counted as theirs."""
        return {seed for seed, count in self._in_a_row.items() if count}

    def count(self, seeds: Sequence[int], what: str, *, further: bool) -> list[int]:
        """Count a job that ended without finishing these seeds; return those that are given up by that."""
        lost = []
        for seed in seeds:
            self._in_a_row[seed] = 0 if further else self._in_a_row[seed] + 1
            if self._in_a_row[seed] >= MAX_LOSSES:
                self.given_up[seed] = what
                lost.append(seed)
        return lost

    def check(self) -> None:
        """Raise if a seed was given up.

        Raises
        ------
        WorkersLostError
            It names the seeds and the last job.
        """
        if not self.given_up:
            return
        seeds, last = ", ".join(map(str, sorted(self.given_up))), list(self.given_up.values())[-1]
        raise WorkersLostError(
            f"jobs of seeds {seeds} ended {MAX_LOSSES} times in a row without finishing a cell; the last: {last}"
        )

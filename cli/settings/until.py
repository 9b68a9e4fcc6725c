"""Seeds until decided: what `until` and its targets may say, before anything is known of the scorers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sics_cli.base.errors import ConfigError, RefusedSettingError, did_you_mean, require

if TYPE_CHECKING:
    from sics_analysis.claims.statement import Claim

#: What `until` begins with; without a target after it, every line of κ ≥ 1 is asked for.
DECIDED = "decided"
#: A target that asks for so large a share of the lines of κ ≥ 1.
SHARE = "share:"
#: The target of every claim of the paper that the run tests.
CLAIMS = "claims"
#: A first look takes five seeds: below that no verdict can be had at its level.
FEWEST, MOST = 5, 10_000
_NUMBER = re.compile(r"\d*\.?\d+|\d+\.")


def targets_of(until: str) -> tuple[str, ...]:
    """The targets of `until`, each checked against the grammar; none for `decided` alone.

    >>> targets_of("decided"), targets_of("decided:escape:chaos@0.8, share:0.8")
    ((), ('escape:chaos@0.8', 'share:0.8'))
    """
    word, colon, rest = until.strip().partition(":")
    named = [text.strip() for text in rest.split(",")]
    good = word == DECIDED and (not colon or all(named))
    if not good:
        near = "" if word == DECIDED else did_you_mean(word, (DECIDED,)).replace("?)", f"{colon}{rest}?)")
        raise RefusedSettingError("until", until, f"{DECIDED}, or {DECIDED}:TARGET,TARGET", meant=near)
    if not colon:
        return ()
    for text in named:
        check_target(text)
    return tuple(dict.fromkeys(named))


def check_target(text: str) -> tuple[Claim, ...] | float:
    """A target as a claim, as all of the paper's, or as the share it asks for; a `RefusedSettingError` says what is accepted."""
    from sics_analysis.claims.statement import GRAMMAR, nearest_claim, paper_claims, parse_claim

    if text == CLAIMS:
        return paper_claims()
    if text.startswith(SHARE):
        share = float(text.removeprefix(SHARE)) if _NUMBER.fullmatch(text.removeprefix(SHARE)) else 0.0
        require(0 < share <= 1, "until", text, f"{SHARE}X, a share above 0 and at most 1")
        return share
    try:
        return (parse_claim(text),)
    except ValueError:
        ids = ", ".join(claim.id for claim in paper_claims())
        accepts = f"targets as {SHARE}0.8, {GRAMMAR} ({ids}), or {CLAIMS} for all of the paper's"
        raise RefusedSettingError("until", text, accepts, meant=nearest_claim(text, (CLAIMS,))) from None


def seeds_of(seeds: Any, until: Any, max_seeds: Any, first_seed: Any) -> Any:
    """The seeds that these settings mean together: a count, or a list; None where none of them says any.

    With `until` they are the `max_seeds` seeds from `first_seed` on, or a list of as many.

    >>> seeds_of(3, None, None, 10), seeds_of(None, "decided", 5, 0), seeds_of([3, 5], None, None, 0)
    ((10, 11, 12), (0, 1, 2, 3, 4), [3, 5])
    """
    whole = isinstance(first_seed, int) and not isinstance(first_seed, bool) and 0 <= first_seed < 2**32 - MOST
    require(whole, "first_seed", first_seed, f"a whole number from 0 to {2**32 - MOST - 1}")
    if until is None:
        if max_seeds is not None:
            raise ConfigError(f"--max-seeds {max_seeds}: is for --until {DECIDED}; --seeds {max_seeds} is a fixed number of them")
        counted = isinstance(seeds, int) and not isinstance(seeds, bool)
        if counted:
            require(seeds >= 1, "seeds", seeds, "a count of at least 1, or a list of seeds")
            require(seeds <= MOST, "seeds", seeds, f"a count of at most {MOST}, or a list of seeds")
        elif first_seed:
            raise ConfigError(f"--first-seed {first_seed}: is for a count of seeds; a list says which they are")
        return tuple(range(first_seed, first_seed + seeds)) if counted else seeds
    require(isinstance(until, str), "until", until, f"{DECIDED}, or {DECIDED}:TARGET,TARGET")
    if max_seeds is None:
        raise ConfigError(f"--until {until}: needs --max-seeds N, the most seeds it may take: a whole number from {FEWEST}")
    good = isinstance(max_seeds, int) and not isinstance(max_seeds, bool) and FEWEST <= max_seeds <= MOST
    require(good, "max_seeds", max_seeds, f"a whole number from {FEWEST} to {MOST}: the first look takes {FEWEST} seeds")
    if seeds is None:
        return tuple(range(first_seed, first_seed + max_seeds))
    listed = isinstance(seeds, Sequence) and not isinstance(seeds, str)
    if not listed:
        raise ConfigError(f"--seeds {seeds}: is a fixed number of seeds; --until {until} takes --max-seeds instead")
    if first_seed:
        raise ConfigError(f"--first-seed {first_seed}: is for a count of seeds; a list says which they are")
    if len(set(seeds)) != max_seeds:
        raise ConfigError(f"--max-seeds {max_seeds}: {len(set(seeds))} seeds are listed: give as many")
    return seeds

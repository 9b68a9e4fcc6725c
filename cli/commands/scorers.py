"""`sics-run scorers`: what can be compared, and what each is on real weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sics_cli.base.errors import ConfigError
from sics_cli.commands.options import COUNT, KAPPA, Word, comma_list, ending
from sics_cli.console import progress_bars, tables
from sics_cli.experiment import searched
from sics_cli.experiment.scorers import OWN_POOLS, WORDS, describe_scorers, in_pool, stands_for
from sics_cli.experiment.trials import TRIALS
from sics_cli.experiment.user_scorers import expanded, offered
from sics_cli.settings.config import SALIENCIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sics_cli.results.scorer_meter import Measured, MeasuredNetwork

_ENDINGS = (".csv", ".jsonl")


@click.command()
@click.argument("names", nargs=-1, metavar="[SCORER]...")
@click.option("--kappa", type=KAPPA, metavar="K", help="Only feature classes of this complexity: 0, 1 or 2.")
@click.option("--long", "long", is_flag=True, help="Also source, pool, units, and what each reads.")
@click.option("--measure", is_flag=True, help="Measure them on a trained network: κ, plateau or fake, monotone or noise.")
@click.option("--run", type=click.Path(path_type=Path), metavar="RUN", help="On a run's dense networks and its saliency.")
@click.option(
    "--seeds",
    callback=comma_list(int, "seeds", lambda seed: seed >= 0),
    metavar="0,1",
    help="Which networks.  [default: RUN's first, else 0]",
)
@click.option("--data", metavar="imagefolder:PATH", help="Where the images of RUN are, if they are a folder's.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where torchvision's files are.")
@click.option("--saliency", type=Word(SALIENCIES), help="What scorers are given.  [default: RUN's, else gradient]")
@click.option(
    "--sparsities", callback=comma_list(float, "numbers between 0 and 1", lambda s: 0 < s < 1), metavar="S,T",
    help="Where to measure.  [default: .5,.6,.7,.8]",
)  # fmt: skip
@click.option("--draws", type=COUNT, metavar="N", help="Bootstrap draws behind the confidence.  [default: 100]")
@click.option("--figures", type=click.Path(path_type=Path), metavar="DIR", help="Draw each over (ρ, z), as PDF and PNG.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Every number, as .csv or .jsonl.")
def scorers(names: tuple[str, ...], kappa: int | None, long: bool, measure: bool, **asked: Any) -> None:
    """List the scorers: name, complexity κ (of feature classes), role, formula. Name some, or MODULE:CLASS or FILE.py:CLASS, or
    a word of replicate's --scorers.

    With --measure, what each is on the weights of a network: a run's, or else the default experiment's after a few epochs
    of training, which takes seconds. docs/complexity.md says how.
    """
    wanted = expanded(names)
    with _own_words():
        if measure:
            if long:
                raise ConfigError(
                    "--long: lists what is known of scorers, --measure what they are on a network; give one of them"
                )
            _measure(wanted, kappa, **asked)
            return
        if idle := [name for name, value in asked.items() if value is not None]:
            raise ConfigError(f"--{idle[0].replace('_', '-')}: goes with --measure")
        _list(names, wanted, kappa, long=long)


@contextmanager
def _own_words() -> Iterator[None]:
    """Have a refusal of a scorer name the argument of this command, and not replicate's option."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(re.sub(r"^--scorers\b", "SCORER", str(error))) from None


def _list(names: Sequence[str], wanted: list[str], kappa: int | None, *, long: bool) -> None:
    infos = describe_scorers(wanted, "gradient")
    asked_for = [info for info in infos if not wanted or info.spec in wanted or any(stands_for(word, info) for word in wanted)]
    shown = [info for info in asked_for if kappa is None or info.kappa == kappa]
    if not shown:
        raise ConfigError(f"--kappa {kappa}: is of none of {', '.join(names)}; name scorers or give --kappa, not both")
    (tables.print_scorers_long if long else tables.print_scorers)(progress_bars.results(), shown)
    if not names and kappa is None:
        tables.print_forms(progress_bars.results(), searched.forms(), OWN_POOLS)
        tables.print_offered(progress_bars.results(), offered())


def _check_measured(spec: str) -> None:
    """Refuse a name that is measured otherwise, or not at all."""
    name, pool = in_pool(spec)
    if spec == searched.SEARCHED or searched.is_searched(spec):
        if spec != searched.SEARCHED:
            searched.known(spec)
        raise ConfigError(
            f"--scorers {spec}: has no measure by its name: κ hangs on the weights, which a search finds anew at each seed; in "
            "Python sics_plugin.complexity.measure takes the scorer that search_fusion found"
        )
    if spec == TRIALS:
        raise ConfigError(f"--scorers {spec}: has no measure by its name: it is another scorer for each network and S")
    if spec in WORDS:
        raise ConfigError(f"--scorers {spec}: --measure takes scorers by name; without one it measures all that run by default")
    if pool is not None:
        raise ConfigError(f"--scorers {spec}: is measured in one global pool, whatever it is ranked in: give {name}")


def _measure(
    wanted: list[str],
    kappa: int | None,
    run: Path | None,
    seeds: list[int] | None,
    data: str | None,
    data_dir: Path | None,
    saliency: str | None,
    sparsities: list[float] | None,
    draws: int | None,
    figures: Path | None,
    output: Path | None,
) -> None:
    if run is None and (data is not None or data_dir is not None):
        raise ConfigError(f"--{'data' if data is not None else 'data-dir'}: goes with --run")
    for spec in wanted:
        _check_measured(spec)
    if output is not None and output.suffix not in _ENDINGS:
        raise ConfigError(f"--output {output}: {ending(output, _ENDINGS)}")
    import torch

    from sics_cli.console.output import check_folder, write_document, write_surfaces
    from sics_cli.results.scorer_meter import as_text, measure_all, quick_network, run_networks
    from sics_plugin import list_scorers

    check_folder("--figures", figures)
    if kappa is not None and wanted:
        raise ConfigError("--kappa: lists scorers by their class's κ; name scorers or give --kappa, not both")
    chosen = wanted or (None if kappa is None else list_scorers(kappa=kappa))
    torch.set_num_threads(1)  # as in a run: the same saliency to the last bit
    networks: Iterable[MeasuredNetwork]
    if run is None:
        networks = (quick_network(seed, saliency or "gradient") for seed in seeds or [0])
    else:
        networks = run_networks(run, seeds, data=data, data_dir=data_dir, saliency=saliency)
    out, progress = progress_bars.results(), progress_bars.reporter()
    found: list[Measured] = []
    for network in networks:
        here: list[Measured] = []
        for one in measure_all(network, chosen, sparsities=sparsities, draws=draws):
            progress.note(f"{one.network.experiment}, seed {one.network.seed}: {one.found.name} {one.found.kind}")
            here.append(one)
        if here:
            tables.print_measured(out, here)
        found += here
    if not found:
        raise ConfigError("nothing to measure: no scorer can use this saliency")
    if figures is not None:
        write_surfaces(figures, [(one.found, one.network.seed) for one in found])
    if output is not None:
        write_document(output, as_text(found, output.suffix))

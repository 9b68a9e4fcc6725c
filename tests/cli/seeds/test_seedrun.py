"""One seed's work in this process: what a row says, beside its number."""

import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sics_cli.base.errors import ConfigError, MismatchError
from sics_cli.base.hashing import digest
from sics_cli.experiment.cells import plan_cells
from sics_cli.experiment.cost import Cost
from sics_cli.experiment.recipe import Environment, Recipe, scorer_seed
from sics_cli.experiment.scorers import ScorerInfo, describe_scorers, make_scorer
from sics_cli.results.summary import paired_seeds
from sics_cli.seeds import masks, seed_run
from sics_cli.seeds.job import SeedJob
from sics_cli.seeds.masks import seeded
from sics_cli.seeds.seed_run import NONDETERMINISTIC, SeedRun, cpu_model, device_facts, keep_freed_memory
from sics_cli.settings.config import Experiment
from sics_cli.store.inbox import Inbox, Note, Progress
from sics_cli.store.rows import CellRow, CheckpointRow, FailureRow, RepeatRow
from sics_cli.tasks import training
from sics_cli.tasks.image_setup import check_unit
from sics_cli.tasks.images.datasets import load_split
from sics_cli.tasks.images.examples import Examples
from sics_cli.tasks.networks.evaluation import evaluate
from sics_cli.tasks.networks.models import build_model
from sics_cli.tasks.networks.training import ImageTrainer
from sics_plugin import (
    Scorer,
    compute_masks,
    prune_channels,
    register_scorer,
    shrink,
    unregister_scorer,
)

CPU = torch.device("cpu")
ENVIRONMENT = Environment("cpu", "2.15", "1.0")
Run = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def infos() -> dict[str, ScorerInfo]:
    return {info.name: info for info in describe_scorers((), "gradient")}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run(tmp_path: Path, experiment: Experiment, infos: dict[str, ScorerInfo]) -> Run:
    """Compute cells of a seed for scorers by name, or given as facts; rows in the order of the inbox."""
    (tmp_path / "inbox").mkdir()

    def compute(*scorers: str | ScorerInfo, seed: int = 0, sparsity: float = 0.5, known: tuple[CellRow, ...] = (),
                order: int = 1, keep: bool = False, **changes: Any) -> list[Any]:  # fmt: skip
        small = replace(experiment, seeds=(seed,), sparsities=(sparsity,), **changes)
        recipe = Recipe(small, ENVIRONMENT)
        chosen = [infos[one] if isinstance(one, str) else one for one in scorers]
        cells = plan_cells(recipe, chosen)[::order]
        job = SeedJob(tmp_path, small, ENVIRONMENT, seed, cells, known, True, {}, recipe.run_id, recipe.task, keep=keep,
                      reference=infos["magnitude"])  # fmt: skip
        SeedRun(job, CPU).run()
        found = []
        for path, letter in Inbox(tmp_path, recipe.run_id).letters():
            found.append(letter)
            path.unlink()
        return found

    return compute


def cells_of(rows: list[Any]) -> dict[str, CellRow]:
    return {row.scorer: row for row in rows if isinstance(row, CellRow)}


def test_overlap_with_magnitude_and_version_of_the_scorer(run: Run, infos: dict[str, ScorerInfo], tmp_path: Path) -> None:
    rows = cells_of(run("magnitude", "power", "chaos", "random"))
    assert (rows["dense"].jaccard, rows["dense"].fingerprint) == (None, None)
    assert rows["magnitude"].jaccard == rows["power"].jaccard == 1.0
    assert rows["chaos"].fingerprint == digest(infos["chaos"].fingerprint)
    total = sum(layer[1] for layer in rows["chaos"].layers)
    kept = total - round(0.5 * total)
    for name in ("chaos", "random"):
        overlap = rows[name].jaccard
        assert overlap is not None
        both = overlap * 2 * kept / (1 + overlap)  # of two sets of `kept` each
        assert both == pytest.approx(round(both), abs=1e-6)
        assert 0 < overlap < 1
    assert rows["random"].jaccard == pytest.approx(1 / 3, abs=0.02), "half of a half is shared by chance"
    alone = cells_of(run("chaos", reference="chaos"))
    assert alone["chaos"].jaccard == rows["chaos"].jaccard, "also where magnitude is not among the scorers"


@pytest.mark.parametrize(("unit", "pool"), [("channel", "layer"), ("head", "global"), ("head", "layer")])
def test_channels_and_heads_by_every_scorer(run: Run, infos: dict[str, ScorerInfo], unit: str, pool: str) -> None:
    names = [name for name in infos if infos[name].role != "adaptive" and unit in infos[name].units]
    rows = run(*names, unit=unit, pool=pool)
    repeats = [row for row in rows if isinstance(row, RepeatRow)]
    cells = cells_of(rows)
    assert set(cells) == {"dense", *names}, [row.error for row in rows if isinstance(row, FailureRow)]
    total, layer, weights = {"channel": (64, "blocks.0.mlp.fc1", 32), "head": (2, "blocks.0.attn", 16 * 16)}[unit]
    for name in names:
        row = cells[name]
        assert (row.unit, row.pool) == (unit, pool)
        assert row.layers == [[layer, total, total // 2]]
        assert row.realised_sparsity == 0.5
        assert row.weight_sparsity == total // 2 * weights / (12 * 16 * 16)
    for name in ("magnitude", "power", "log"):
        assert cells[name].mask_hash == cells["magnitude"].mask_hash
        assert (cells[name].jaccard, cells[name].correct) == (1.0, cells["magnitude"].correct)
    assert cells["random"].jaccard in ({0.0, 1.0} if unit == "head" else {k / (64 - k) for k in range(33)})
    assert {(row.unit, row.mask_hash) for row in repeats} == {(unit, cells["magnitude"].mask_hash)}


@pytest.mark.parametrize(("unit", "kind"), [("channel", "neighbourhood"), ("head", "activation")])
def test_units_by_other_saliencies(run: Run, unit: str, kind: str) -> None:
    known = {info.name: info for info in describe_scorers((), kind)}
    row = cells_of(run(known["magnitude"], known["chaos"], unit=unit, saliency=kind))["chaos"]
    assert (row.unit, row.saliency, row.realised_sparsity) == (unit, kind, 0.5)


def test_a_pruned_channel_is_gone_from_the_evaluated_network(run: Run, experiment: Experiment, tmp_path: Path) -> None:
    """What the row says is what the physically smaller network says."""
    row = cells_of(run("magnitude", "random", unit="channel"))["random"]
    model = build_model(experiment.images.model, 0)
    (path,) = (tmp_path / "checkpoints").glob("seed-0-*")
    model.load_state_dict(load_file(path))
    report = prune_channels(model, make_scorer("random", scorer_seed(0)), 0.5)
    assert report.mask_hash == row.mask_hash
    smaller = shrink(model)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())
    found = evaluate(smaller.eval(), Examples(load_split(experiment.images.data).test, CPU))
    assert found.bits == row.bits
    assert found.loss == pytest.approx(row.loss, rel=1e-5)


@pytest.mark.parametrize(("unit", "option"), [("channel", ("scale_mlp_norm", True)), ("head", ("scale_attn_norm", True))])
def test_a_network_whose_units_mix_is_refused(experiment: Experiment, unit: str, option: tuple[str, bool]) -> None:
    odd = replace(experiment.images, model=replace(experiment.images.model, options=(*experiment.images.model.options, option)))
    with pytest.raises(ConfigError, match=f"^--unit {unit}: model.name = 'vit' as set cannot be pruned so: [^\n]*blocks.0"):
        check_unit(odd, unit)
    check_unit(odd, "weight")
    check_unit(experiment.images, unit)


def test_the_overlap_is_that_of_the_masks(run: Run, experiment: Experiment, tmp_path: Path) -> None:
    row = cells_of(run("magnitude", "random"))["random"]
    model = build_model(experiment.images.model, 0)
    (path,) = (tmp_path / "checkpoints").glob("seed-0-*")
    model.load_state_dict(load_file(path))
    one, _ = compute_masks(model, "magnitude", amount=0.5)
    two, report = compute_masks(model, make_scorer("random", scorer_seed(0)), amount=0.5)
    assert report.mask_hash == row.mask_hash
    both = sum(int((one[name] & two[name]).sum()) for name in one)
    either = sum(int((one[name] | two[name]).sum()) for name in one)
    assert row.jaccard == both / either


def test_the_noise_floor_is_measured_on_the_reference_where_magnitude_does_not_run(run: Run) -> None:
    rows = run("power", "chaos", reference="power")
    (repeat,) = [row for row in rows if isinstance(row, RepeatRow)]
    first = cells_of(rows)["power"]
    assert (repeat.scorer, repeat.mask_hash, repeat.bits, repeat.loss) == ("power", first.mask_hash, first.bits, first.loss)


@pytest.fixture
def dice() -> Iterator[ScorerInfo]:
    """A scorer that draws from every global generator, as careless code does."""

    @register_scorer
    class Dice(Scorer):
        """Global randomness."""

        name, kappa, summary = "dice_of_a_test", 2, "noise"

        def score(self, units: Any, sparsity: float) -> torch.Tensor:
            drawn = random.random() + np.random.rand()  # noqa: NPY002
            return torch.rand(len(units.magnitude), dtype=torch.float64) * drawn

    yield next(info for info in describe_scorers((), "gradient") if info.name == "dice_of_a_test")
    unregister_scorer("dice_of_a_test")


def test_global_randomness_of_a_scorer_belongs_to_its_cell(run: Run, dice: ScorerInfo) -> None:
    one = run("magnitude", dice, "random")
    torch.manual_seed(1)
    two = run("chaos", dice, "magnitude", order=-1, reference="dice_of_a_test")
    first, second = cells_of(one)["dice_of_a_test"], cells_of(two)["dice_of_a_test"]
    assert first.mask_hash == second.mask_hash, "whatever other cells there are, in whatever order"
    (repeat,) = [row for row in run(dice, reference=dice.name) if isinstance(row, RepeatRow)]
    assert repeat.mask_hash == first.mask_hash, "the repeat draws the same"
    assert cells_of(run(dice, seed=1, reference=dice.name))[dice.name].mask_hash != first.mask_hash
    assert cells_of(run(dice, sparsity=0.6, reference=dice.name))[dice.name].mask_hash != first.mask_hash


def test_generators_are_left_as_they_were() -> None:
    torch.manual_seed(3), random.seed(3), np.random.seed(3)  # noqa: NPY002
    expected = torch.rand(1).item(), random.random(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(3), random.seed(3), np.random.seed(3)  # noqa: NPY002
    with seeded("0f" * 32):
        torch.rand(5), random.random(), np.random.rand(7)  # noqa: NPY002
    assert (torch.rand(1).item(), random.random(), np.random.rand()) == expected  # noqa: NPY002


def test_a_nondeterministic_training_is_remembered_when_the_run_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ImageTrainer.epoch

    def warns(self: Any, number: int) -> Any:
        warnings.warn("x does not have a deterministic implementation", UserWarning, stacklevel=1)
        return real(self, number)

    monkeypatch.setattr(ImageTrainer, "epoch", warns)
    first = cells_of(run("magnitude"))
    assert first["magnitude"].flags == first["dense"].flags == [NONDETERMINISTIC]
    monkeypatch.setattr(ImageTrainer, "epoch", real)
    again = cells_of(run("chaos", sparsity=0.6))
    assert NONDETERMINISTIC in again["chaos"].flags, "the checkpoint is the same, and so is its flag"
    assert NONDETERMINISTIC not in cells_of(run("magnitude", seed=1))["magnitude"].flags


def test_a_warning_of_one_cell_flags_that_cell(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = masks.compute_masks

    def warns(model: Any, method: Any, **options: Any) -> Any:
        if getattr(method, "name", "") == "chaos":
            warnings.warn("y does not have a deterministic implementation", UserWarning, stacklevel=1)
        return real(model, method, **options)

    monkeypatch.setattr(masks, "compute_masks", warns)
    rows = cells_of(run("magnitude", "chaos"))
    assert (rows["magnitude"].flags, rows["chaos"].flags) == ([], [NONDETERMINISTIC])


def test_a_training_that_fails_fails_its_own_seed_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = training.epoch_seed
    monkeypatch.setattr(training, "epoch_seed", lambda seed, epoch: real(seed, epoch) if seed else 1 / 0)
    rows = run("magnitude")
    assert {type(row) for row in rows} == {FailureRow}
    assert sorted(row.kind for row in rows) == ["cell", "cell", "repeat"]
    good = run("magnitude", seed=1)
    assert {type(row) for row in good} == {CheckpointRow, CellRow, RepeatRow}


def test_another_plugin_than_the_drivers_ends_the_run_clearly(tmp_path: Path, experiment: Experiment) -> None:
    job = SeedJob(tmp_path, experiment, ENVIRONMENT, 0, (), (), True, {}, "another run", Recipe(experiment, ENVIRONMENT).task)
    with pytest.raises(
        MismatchError, match="sics_plugin, a file of weights or the code of a task changed while the run was going on"
    ):
        SeedRun(job, CPU)


def test_training_in_parts_makes_the_same_rows(tmp_path: Path, experiment: Experiment, infos: dict[str, ScorerInfo]) -> None:
    """Each part as a job of its own, as two workers would do them in turn, and one of its files damaged."""
    quick = experiment.with_images(training=replace(experiment.images.training, epochs=4))
    small = replace(quick, seeds=(0,), sparsities=(0.5,))
    recipe = Recipe(small, ENVIRONMENT)
    cells = plan_cells(recipe, [infos["magnitude"]])
    hashes, notes = [], []
    for name, steps in (("whole", ()), ("parts", (1, 3, 4)), ("behind", (3, 1, 4)), ("damaged", (1, 0, 4))):
        folder = tmp_path / name
        (folder / "inbox").mkdir(parents=True)
        job = SeedJob(folder, small, ENVIRONMENT, 0, cells, (), True, {}, recipe.run_id, recipe.task)
        for until in steps:
            if until:
                assert SeedRun(job, CPU).advance(until) == 0
                half = list((folder / "checkpoints").glob("training-0-*"))
                assert bool(half) == (until < 4), "gone once there is a checkpoint"
            else:
                half[0].write_bytes(half[0].read_bytes()[:-40])
        assert SeedRun(job, CPU).run() == 0
        rows = [letter for _, letter in Inbox(folder, recipe.run_id).letters()]
        hashes.append([(row.scorer, row.checkpoint_hash, row.bits, row.loss) for row in rows if isinstance(row, CellRow)])
        notes += [row.text for row in rows if isinstance(row, Note)]
    assert hashes[0] == hashes[1] == hashes[2] == hashes[3] != []
    assert len(notes) == 1
    assert "trained from the beginning" in notes[0]


def test_a_row_names_the_processor(run: Run, tmp_path: Path) -> None:
    facts = cells_of(run("magnitude"))["magnitude"].provenance
    assert facts["device"] == "cpu"
    assert facts["cpu"] == device_facts(CPU)["cpu"] != ""
    assert facts["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    fake = tmp_path / "cpuinfo"
    fake.write_text("processor\t: 0\nmodel name\t: Abacus 3000\n")
    assert cpu_model(fake) == "Abacus 3000"
    assert cpu_model(tmp_path / "none") != ""


def test_keeping_freed_memory_is_harmless_wherever_we_are() -> None:
    assert keep_freed_memory() in (True, False)


# --- peers ----------------------------------------------------------------------------------------------------------------


def test_peers_bring_a_saliency_of_their_own_collected_once(
    run: Run, infos: dict[str, ScorerInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    plain = seed_run.saliency_of

    def counted(model: Any, kind: str, *rest: Any) -> Any:
        made.append(kind)
        return plain(model, kind, *rest)

    monkeypatch.setattr(seed_run, "saliency_of", counted)
    rows = run("magnitude", "snip", "lamp", "wanda", "ria", saliency="neighbourhood")
    cells = cells_of(rows)
    assert made == ["neighbourhood", "snip", "lamp", "activation", "relative_activation"]
    kinds = {name: cells[name].saliency for name in cells}
    assert kinds == {
        "dense": "neighbourhood", "magnitude": "neighbourhood", "snip": "snip", "lamp": "lamp", "wanda": "activation",
        "ria": "relative_activation",
    }  # fmt: skip
    assert len({cells[name].saliency_hash for name in cells}) == len(made)
    batches = {name: cells[name].calibration_hash for name in cells}
    assert batches["magnitude"] is batches["lamp"] is None
    assert batches["snip"] == batches["wanda"] == batches["ria"] is not None
    assert paired_seeds(list(cells.values())) == ([0], [])
    other = replace(cells["snip"], saliency_hash="another")
    assert paired_seeds([*cells.values(), other]) == ([], [0])


def test_the_key_of_a_peer_knows_its_own_signal_and_not_the_runs(experiment: Experiment, infos: dict[str, ScorerInfo]) -> None:
    recipes = {kind: Recipe(replace(experiment, saliency=kind), ENVIRONMENT) for kind in ("gradient", "neighbourhood")}
    keys = {
        name: {kind: recipe.cell_key(0, infos[name], 0.5) for kind, recipe in recipes.items()} for name in ("fisher", "chaos")
    }
    assert len(set(keys["fisher"].values())) == 1
    assert len(set(keys["chaos"].values())) == 2
    quick = experiment.with_images(calibration=replace(experiment.images.calibration, batches=1))
    fewer = replace(quick, saliency="neighbourhood")
    other = Recipe(fewer, ENVIRONMENT)
    assert other.cell_key(0, infos["fisher"], 0.5) not in keys["fisher"].values(), "its batches are part of it"
    assert other.cell_key(0, infos["lamp"], 0.5) == recipes["neighbourhood"].cell_key(0, infos["lamp"], 0.5)


def test_each_in_the_pool_of_its_source(run: Run) -> None:
    cells = cells_of(run("magnitude", "wanda", "ri", "fisher", pool="native"))
    assert {row.pool for row in cells.values()} == {"native"}
    flags = {name: [f for f in row.flags if f.startswith("pool ")] for name, row in cells.items()}
    assert flags == {"dense": [], "magnitude": [], "wanda": ["pool row"], "ri": ["pool layer"], "fisher": []}
    sparsities = {name: {pruned / total for _, total, pruned in row.layers} for name, row in cells.items()}
    assert sparsities["wanda"] == sparsities["ri"] == {0.5}
    assert len(sparsities["magnitude"]) > 1


@pytest.mark.parametrize("pool", ["layer-rank", "row", "2:4", "erk"])
def test_pools_of_weights(run: Run, pool: str) -> None:
    cells = cells_of(run("magnitude", "chaos", "wanda", pool=pool))
    assert {row.pool for row in cells.values()} == {pool}
    assert {row.realised_sparsity for name, row in cells.items() if name != "dense"} == {0.5}
    assert 0 < cells["wanda"].jaccard < 1


def test_a_seed_goes_on_with_the_saliency_it_began_with(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In jobs of a queue, the second of which may meet a processor that rounds differently: here one bit of one value."""
    first = run("chaos", keep=True)
    (path,) = (tmp_path / "checkpoints").glob("saliency-*")
    assert path.name.startswith("saliency-0-gradient-")
    known = tuple(row for row in first if isinstance(row, CellRow))
    collected = SeedRun._collected

    def rounded(self: SeedRun, kind: str) -> Any:
        made = collected(self, kind)
        next(iter(made._values.values())).view(torch.int32).reshape(-1)[0] += 1
        return made

    monkeypatch.setattr(SeedRun, "_collected", rounded)
    more = run("chaos", known=known, keep=True, sparsity=0.7)
    assert not [row for row in more if isinstance(row, FailureRow)]
    assert {row.saliency_hash for row in (*known, *more) if isinstance(row, CellRow)} == {known[0].saliency_hash}
    path.write_bytes(path.read_bytes()[:-100])
    failures = [row for row in run("chaos", known=known, keep=True, sparsity=0.7) if isinstance(row, FailureRow)]
    assert failures, "a damaged file is not believed"
    assert "the gradient saliency of seed 0 differs from that of its rows in the store" in failures[0].error


def test_the_work_told_grows_to_all_of_it(run: Run, experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, saliency and cells, one after another in one job: what is told last is the sum of the three."""
    told: list[float] = []
    monkeypatch.setattr(seed_run.time, "monotonic", iter(range(10**6)).__next__)  # so that everything is told
    monkeypatch.setattr(Inbox, "tell", lambda self, progress: told.append(progress.work))
    rows = run("magnitude", "chaos")
    cells = [row for row in rows if isinstance(row, CellRow | RepeatRow)]
    work = Cost.relative(Recipe(experiment, ENVIRONMENT))
    assert told == sorted(told)
    assert told[-1] == pytest.approx(work.training + work.saliency + work.cell * len(cells))


def test_the_points_of_searches_are_told_as_work_and_as_a_phase(
    run: Run, experiment: Experiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those that are kept count as done, so that what is told last is what the schedule expects either way."""
    told: list[Progress] = []
    monkeypatch.setattr(seed_run.time, "monotonic", iter(range(10**6)).__next__)
    monkeypatch.setattr(Inbox, "tell", lambda self, progress: told.append(progress))
    searched = [info for info in describe_scorers(("fusion_orbit_3", "fusion_orbit_5"), "gradient") if info.searched]
    work = Cost.relative(Recipe(experiment, ENVIRONMENT))
    for trained in (1, 0):
        told.clear()
        rows = cells_of(run("magnitude", *searched))
        assert (rows["fusion_orbit_5"].role, rows["fusion_orbit_5"].kappa) == ("searched", None)
        cells = 1 + 3 + 1  # dense, three scorers, one repeat
        assert [said.work for said in told] == sorted(said.work for said in told)
        assert told[-1].work == pytest.approx(work.training * trained + work.saliency + work.cell * cells + work.point * 5)
        phases = [said.phase for said in told if said.phase.startswith("searching")]
        assert phases == ([f"searching {found}/5" for found in range(5)] if trained else [])
    assert len(list((tmp_path / "searches").iterdir())) == 1

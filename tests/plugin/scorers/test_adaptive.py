"""The adaptive scorer by a table: from a report, by its claims; or from held-out data, within a budget."""

import copy
import io
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import sics_plugin
from sics_plugin import (
    AdaptiveTable,
    Calibration,
    CoordinateUnresolvedWarning,
    Saliency,
    SICSAdaptive,
    SICSMagnitude,
    SICSSmoothMouse,
    SICSStructuredAdaptive,
    SICSWiggle,
    build_scorer,
    channel_group,
    clone_pruned,
    compute_channel_masks,
    compute_masks,
    finalize,
    held_out_accuracy,
    held_out_loss,
    prunable_parameters,
    prune_channels,
    prune_model,
    prune_to_sparsity,
)
from sics_plugin.scorers.adaptive import Step, by_measurement


def line(
    scorer: str, kappa: int | None, sparsity: float, verdict: str, low: float, high: float, **changes: Any
) -> dict[str, Any]:
    interval = {"low": low, "high": high, "level": 0.95, "method": "rotation max-|T|"}
    family = kappa in (1, 2)
    fields = {"scorer": scorer, "kappa": kappa, "in_family": family, "sparsity": sparsity, "verdict": verdict}
    return {**fields, "mean": (low + high) / 2, "simultaneous": interval if family else None, **changes}


def report(lines: list[dict[str, Any]], kappa: dict[float, int | None] | None = None) -> dict[str, Any]:
    """The parts of a report's JSON that a table reads, as `ReportDocument.to_dict` writes them."""
    sparsities = sorted({entry["sparsity"] for entry in lines})
    points = [{"sparsity": s, "kappa": (kappa or {}).get(s)} for s in sparsities]
    return {
        "kind": "sics-report",
        "schema": 2,
        "source": {"kind": "run", "title": "vit on digits", "identity": "0123456789abcdef"},
        "settings": {"delta": 0.5, "alpha": 0.05, "reference": "magnitude", "stamps": []},
        "unit": "weight",
        "pool": "global",
        "sparsities": [{"sparsity": s} for s in sparsities],
        "lines": lines,
        "spectrum": {"points": points},
    }


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., AdaptiveTable]:
    def make(*arguments: Any, **options: Any) -> AdaptiveTable:
        path = tmp_path / "report.json"
        path.write_text(json.dumps(report(*arguments) | options))
        return SICSAdaptive.from_report(path)

    return make


@pytest.fixture
def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(16, 32, generator=generator), torch.randint(4, (16,), generator=generator)) for _ in range(3)]


def chosen(table: AdaptiveTable, *sparsities: float) -> list[str]:
    return [table.choose(s, "gradient").scorer for s in sparsities]


# --- by a report ---------------------------------------------------------------------------------------------------------


def test_the_best_mean_alone_is_not_chosen(table: Callable[..., AdaptiveTable]) -> None:
    lines = [
        line("smooth_chaos", 1, 0.8, "ESCAPES", 1.0, 3.0),
        line("chaos", 2, 0.8, "ESCAPES", 0.6, 9.0),  # the largest mean of those that escape
        line("wiggle", 2, 0.8, "INCONCLUSIVE", 0.4, 30.0),  # the largest of all
        line("information", None, 0.8, "ESCAPES", 5.0, 6.0),  # a control
    ]
    made = table(lines)
    assert chosen(made, 0.8) == ["smooth_chaos"]
    assert made.choose(0.8, "gradient").reason == (
        "it ESCAPES at S = 0.8 (κ is undetermined), and its simultaneous interval begins highest, at +1.00 points"
    )
    assert chosen(table(lines, {0.8: 2}), 0.8) == ["chaos"]  # κ = 2 is claimed: among its classes
    assert chosen(table(lines, {0.8: 0}), 0.8) == ["magnitude"]


def test_without_an_escape_only_what_cannot_lose_and_may_gain_is_chosen(table: Callable[..., AdaptiveTable]) -> None:
    safe = line("chaos", 2, 0.6, "INCONCLUSIVE", -0.2, 1.5)
    equivalent = line("smooth_chaos", 1, 0.6, "EQUIVALENT", -0.1, 0.4)
    risky = line("wiggle", 2, 0.6, "INCONCLUSIVE", -0.6, 8.0)
    worse = line("bump", 1, 0.6, "DEGRADES", -3.0, -1.0)
    assert chosen(table([worse, risky, equivalent, safe]), 0.6) == ["chaos"]
    assert chosen(table([worse, risky, equivalent]), 0.6) == ["magnitude"]
    assert chosen(table([line("chaos", 2, 0.6, "IDENTICAL", 0.0, 0.0, simultaneous=None)]), 0.6) == ["magnitude"]


def test_equal_support_goes_to_the_simpler_class(table: Callable[..., AdaptiveTable]) -> None:
    lines = [line(name, kappa, 0.7, "ESCAPES", 1.0, 2.0) for name, kappa in (("chaos", 2), ("smooth_mouse", 1), ("bump", 1))]
    assert chosen(table(lines), 0.7) == ["smooth_mouse"]


def test_other_sparsities_take_the_nearest_and_not_too_far(table: Callable[..., AdaptiveTable]) -> None:
    made = table([line("chaos", 2, 0.7, "ESCAPES", 1.0, 2.0), line("wiggle", 2, 0.8, "ESCAPES", 1.0, 2.0)])
    assert chosen(made, 0.59, 0.6, 0.7, 0.74, 0.75, 0.76, 0.9, 0.91) == [
        "magnitude", "chaos", "chaos", "chaos", "chaos", "wiggle", "wiggle", "magnitude",
    ]  # fmt: skip
    assert "further than 0.1 from every sparsity that was measured (0.7, 0.8)" in made.choose(0.95, "gradient").reason


def test_without_a_saliency_it_is_magnitude(table: Callable[..., AdaptiveTable]) -> None:
    made = table([line("chaos", 2, 0.7, "ESCAPES", 1.0, 2.0)])
    for kind in (None, "neighbourhood"):
        found = made.choose(0.7, kind)
        assert (found.scorer, found.reason) == ("magnitude", "no saliency was given")


def test_a_plan_changed_after_the_data_is_said(table: Callable[..., AdaptiveTable]) -> None:
    settings = {"delta": 0.5, "reference": "plateau", "stamps": ["plan changed after data"]}
    made = table([line("chaos", 2, 0.7, "ESCAPES", 1.0, 2.0)], settings=settings)
    assert made.source == "report 0123456789ab: unit weight, pool global, saliency unknown, δ = 0.5; plan changed after data"


def measured(saliency: str, **strengths: float) -> dict[str, Any]:
    entries = [{"scorer": name, "alpha": alpha} for name, alpha in strengths.items()]
    return {"kind": "run", "title": "x", "identity": "0123456789abcdef", "saliency": saliency, "strengths": entries}


def test_the_strength_is_the_reports(table: Callable[..., AdaptiveTable], mlp: nn.Sequential, batches: list[Any]) -> None:
    lines = [line("chaos", 2, 0.7, "ESCAPES", 1.0, 2.0), line("bump", 1, 0.5, "DEGRADES", -2.0, -1.0)]
    made = table(lines, source=measured("gradient", chaos=0.3, bump=0.15))
    choice = made.choose(0.7, "gradient")
    assert (choice.scorer, choice.alpha) == ("chaos", 0.3)
    assert "chaos with α = 0.3 at S = 0.7" in str(choice)
    assert made.choose(0.5, "gradient").alpha is None, "magnitude has none"
    saliency = Saliency(mlp, batches)
    asked = compute_masks(mlp, "chaos", amount=0.7, saliency=saliency, alpha=0.3)[1]
    other = compute_masks(mlp, "chaos", amount=0.7, saliency=saliency)[1]
    found = compute_masks(mlp, made, amount=0.7, saliency=saliency)[1]
    assert found.mask_hash == asked.mask_hash != other.mask_hash
    assert found.alpha == 0.3
    assert "unit weight, pool global, saliency gradient" in made.source


def test_another_saliency_or_pool_than_the_reports_is_refused(
    table: Callable[..., AdaptiveTable], mlp: nn.Sequential, batches: list[Any]
) -> None:
    lines = [line("chaos", 2, 0.7, "ESCAPES", 1.0, 2.0)]
    made = table(lines, source=measured("gradient", chaos=0.15))
    with pytest.raises(ValueError, match="a saliency as this table was measured, with gradient saliency, got activation"):
        compute_masks(mlp, made, amount=0.7, saliency=Saliency(mlp, batches, kind="activation"))
    with pytest.raises(ValueError, match=r"Expected a table for pool 'layer', got one for 'global' \(report 0123456789ab"):
        prune_model(mlp, "adaptive", amount=0.7, pool="layer", table=made, saliency=Saliency(mlp, batches))
    assert not prune.is_pruned(mlp)
    unnamed = made.choose(0.7, "supplied")
    assert unnamed.scorer == "chaos"
    assert unnamed.reason.endswith("measured with gradient saliency, and what kind this one is its vector does not say")
    assert chosen(table(lines, source=measured("gradient"), pool="native"), 0.7) == ["chaos"]
    assert table(lines, source=measured("gradient"), pool="native").pool == "global"


def test_a_report_without_a_saliency_is_for_pruning_without_one(
    table: Callable[..., AdaptiveTable], mlp: nn.Sequential, batches: list[Any]
) -> None:
    made = table([line("chaos", 2, 0.7, "ESCAPES", 1.0, 2.0)], source=measured("neighbourhood", chaos=0.05))
    found = compute_masks(mlp, made, amount=0.7)[1]
    assert (found.scorer, found.alpha) == ("chaos", 0.05)
    with pytest.raises(ValueError, match="as this table was measured, without one, got gradient"):
        compute_masks(mlp, made, amount=0.7, saliency=Saliency(mlp, batches))


def test_a_calibrated_table_is_for_its_own_saliency_and_pool(mlp: nn.Sequential, batches: list[Any]) -> None:
    saliency = Saliency(mlp, batches)
    made = SICSAdaptive.calibrate(mlp, 0.7, evaluate=Counted(mlp), budget=2, saliency=saliency, pool="layer")
    assert (made.pool, made.saliency) == ("layer", "gradient")
    assert compute_masks(mlp, made, amount=0.7, saliency=saliency, pool="layer")[1].choice is not None
    with pytest.raises(ValueError, match="Expected a table for pool 'global', got one for 'layer'"):
        compute_masks(mlp, made, amount=0.7, saliency=saliency)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": measured("gradient", chaos=-1.0)}, "`alpha` to be finite and not negative"),
        ({"source": {**measured("gradient"), "saliency": 3}}, "Expected str or null in report.source.saliency, got 3"),
        ({"kind": "sics-pruning-report"}, "Expected a report (kind 'sics-report'), got 'sics-pruning-report'"),
        ({"schema": 1}, "Expected a report of schema 2 or 3, got 1: make it again from the run"),
        ({"schema": "2"}, "Expected int in report.schema, got '2'"),
        ({"lines": None}, "Expected list in report.lines, got None"),
        ({"lines": [3]}, "Expected an object in report.lines, got int"),
        ({"lines": [{"scorer": "chaos"}]}, "Expected kappa in report.lines, missing"),
        ({"sparsities": []}, "Expected at least one sparsity in report.sparsities, got none"),
        ({"settings": {"delta": float("nan"), "reference": "magnitude"}}, "Expected a finite number in report.settings.delta"),
        ({"settings": {"delta": 10**400, "reference": "magnitude"}}, "Expected a finite number in report.settings.delta"),
        (
            {"settings": {"delta": -5, "reference": "magnitude", "stamps": []}},
            "Expected a margin above 0 in report.settings.delta",
        ),
        ({"sparsities": [{"sparsity": 5}]}, "Expected sparsities in [0, 1) in report.sparsities, got 5"),
        (
            {"lines": [line("chaos", 2, 0.7, "ESCAPES", 9, -9)]},
            "Expected low up to high in report.lines.simultaneous, got 9 and -9",
        ),
        ({"settings": {"delta": 0.5, "reference": "random"}}, "Expected a report against magnitude, got one against 'random'"),
        ({"lines": [line("mine", 1, 0.7, "ESCAPES", 1, 2)]}, "got 'mine'; a scorer of your own has to be imported first"),
        ({"lines": [line("chaos", 1, 0.7, "ESCAPES", 1, 2, simultaneous=[1, 2])]}, "report.lines.simultaneous, got list"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(
    table: Callable[..., AdaptiveTable], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        table([line("chaos", 2, 0.7, "ESCAPES", 1.0, 2.0)], **changes)
    assert "report.json: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.json: cannot be read \(No such file"):
        SICSAdaptive.from_report(tmp_path / "none.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match=r"x\.json: is not JSON; give the report\.json of a run"):
        SICSAdaptive.from_report(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="cannot be read"):
        SICSAdaptive.from_report(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is not JSON"):
        SICSAdaptive.from_report(tmp_path / "x.json")


# --- through every way to prune ------------------------------------------------------------------------------------------

TABLE = AdaptiveTable((Step(0.7, "wiggle", 0.3, "an example says so"),), "an example", 0.1, unit="weight")


def test_torch_takes_the_table_and_the_hook_says_what_was_chosen(mlp: nn.Sequential, batches: list[Any]) -> None:
    params = prunable_parameters(mlp)
    vector = Saliency(mlp, batches).vector(params)
    masks = []
    for how in (
        {"pruning_method": SICSAdaptive, "table": TABLE},
        {"pruning_method": TABLE},
        {"pruning_method": SICSWiggle, "alpha": 0.3},
    ):
        twin = copy.deepcopy(mlp)
        prune.global_unstructured(prunable_parameters(twin), amount=0.7, saliency=vector, **how)
        masks.append(twin[0].weight_mask)
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])
    twin = copy.deepcopy(mlp)
    report = sics_plugin.global_unstructured(prunable_parameters(twin), TABLE, amount=0.7, saliency=vector)
    assert report is not None
    assert torch.equal(twin[0].weight_mask, masks[0].bool())
    method = SICSAdaptive(0.7, vector, table=TABLE)
    assert repr(method) == "SICSAdaptive(amount=0.7, table='an example')"
    method.prune(torch.cat([module.weight.detach().reshape(-1) for module, _ in params]))
    assert repr(method) == (
        "SICSAdaptive(amount=0.7, table='an example', chose wiggle with α = 0.3 at S = 0.7: an example says so (an example))"
    )
    assert repr(SICSAdaptive(3)) == "SICSAdaptive(amount=3)"


def test_the_hook_survives_copies_pickles_and_saving(mlp: nn.Sequential) -> None:
    hook = SICSAdaptive.apply(mlp[0], "weight", amount=0.7, saliency=torch.rand(64, 32), table=TABLE)
    assert hook.choice is not None
    for twin in (clone_pruned(mlp), pickle.loads(pickle.dumps(clone_pruned(mlp)))):
        (found,) = twin[0]._forward_pre_hooks.values()
        assert found.choice == hook.choice
        assert found.scorer.table == TABLE
        assert found.saliency is None
    buffer = io.BytesIO()
    torch.save(clone_pruned(mlp), buffer)
    assert len(buffer.getvalue()) < 4 * sum(p.numel() for p in mlp.parameters()) * 2 + 20_000
    assert "wiggle" in repr(hook)
    prune.remove(mlp[0], "weight")
    assert int((mlp[0].weight == 0).sum()) == round(0.7 * 2048)


def test_streamed_magnitude_is_recorded_too(mlp: nn.Sequential) -> None:
    hook = SICSAdaptive.apply(mlp[0], "weight", amount=0.7, table=TABLE)
    assert hook.choice is not None
    assert (hook.choice.scorer, hook.choice.reason) == ("magnitude", "no saliency was given")
    assert torch.equal(mlp[0].weight_mask, SICSMagnitude(0.7).compute_mask(mlp[0].weight_orig, torch.ones(64, 32)))


def test_a_model_is_pruned_as_by_the_class_and_the_report_says_why(mlp: nn.Sequential, batches: list[Any]) -> None:
    saliency = Saliency(mlp, batches)
    same = compute_masks(mlp, "wiggle", amount=0.7, saliency=saliency, alpha=0.3)[1]
    for method, options in (
        ("adaptive", {"table": TABLE}),
        (SICSAdaptive, {"table": TABLE}),
        (TABLE, {}),
        (build_scorer("adaptive", table=TABLE), {}),
    ):
        _, found = compute_masks(mlp, method, amount=0.7, saliency=saliency, **options)
        assert (found.mask_hash, found.scorer, found.alpha, found.kappa) == (same.mask_hash, "wiggle", 0.3, 2)
        assert found.choice is not None
        assert found.choice.source == "an example"
        assert json.loads(json.dumps(found.to_dict()))["choice"]["scorer"] == "wiggle"
    assert "  chose wiggle with α = 0.3 at S = 0.7: an example says so (an example)" in str(found).splitlines()
    assert same.choice is None
    assert same.to_dict()["choice"] is None
    stronger = compute_masks(mlp, "adaptive", amount=0.7, saliency=saliency, table=TABLE, alpha=0.6)[1]
    assert stronger.alpha == 0.6
    assert stronger.choice is not None
    assert stronger.choice.reason == "an example says so; its strength was given, not measured"
    plateau = AdaptiveTable((Step(0.7, "magnitude", None, "nothing escapes"),), "an example", 0.1)
    given = compute_masks(mlp, "adaptive", amount=0.7, saliency=saliency, table=plateau, alpha=0.6)[1].choice
    assert str(given) == "magnitude at S = 0.7: nothing escapes (an example)"
    report = prune_to_sparsity(mlp, TABLE, 0.75, saliency=saliency)
    assert report.choice is not None
    assert (report.choice.sparsity, report.scorer) == (0.75, "wiggle")


def test_the_default_table_is_recorded_as_well(mlp: nn.Sequential, batches: list[Any]) -> None:
    saliency = Saliency(mlp, batches)
    reasons = [prune_model(copy.deepcopy(mlp), "adaptive", amount=s, saliency=saliency.bind(mlp)).choice for s in (0.5, 0.7, 0.8)]
    assert [str(found).partition(":")[2] for found in reasons] == [
        " κ = 0 suffices below S = 0.65 (table of the hypothesis)",
        " κ = 1 from S = 0.65 to 0.75 (table of the hypothesis)",
        " κ = 2 above S = 0.75 (table of the hypothesis)",
    ]


def test_another_unit_than_was_measured_is_refused(mlp: nn.Sequential) -> None:
    groups = [channel_group(mlp, "0", "2")]
    with pytest.raises(ValueError, match=r"Expected a table for unit 'channel', got one for 'weight' \(an example\)"):
        prune_channels(mlp, "adaptive", 0.7, groups=groups, table=TABLE)
    with pytest.raises(ValueError, match="Expected a table for unit 'channel', got one for 'weight'"):
        SICSStructuredAdaptive(0.7, table=TABLE)
    channels = AdaptiveTable((Step(0.7, "smooth_mouse", None, "so"),), "an example", 0.1, unit="channel")
    with pytest.raises(ValueError, match="Expected a table for unit 'weight', got one for 'channel'"):
        SICSAdaptive(0.7, table=channels)
    for method in (channels, build_scorer("adaptive", table=channels)):
        with pytest.raises(ValueError, match="Expected a table for unit 'weight', got one for 'channel'"):
            compute_masks(mlp, method, amount=0.7)
        _, found = compute_channel_masks(mlp, method, 0.7, groups=groups, saliency=torch.rand(64))
        assert (found.scorer, found.choice is not None) == ("smooth_mouse", True)
    with pytest.warns(CoordinateUnresolvedWarning):
        assert SICSStructuredAdaptive(0.7, torch.rand(64), table=channels).prune(torch.rand(64, 8)).shape == (64, 8)


def test_a_table_enters_the_fingerprint_and_no_table_leaves_it_as_it_was() -> None:
    plain = build_scorer("adaptive").fingerprint("gradient")
    assert plain["parameters"] == {"alpha": 0.15}
    made = build_scorer("adaptive", table=TABLE).fingerprint("gradient")
    assert made["parameters"]["table"] == json.loads(json.dumps(TABLE.to_dict()))
    with pytest.raises(
        ValueError, match=r"`table` to be an AdaptiveTable \(SICSAdaptive.from_report makes one\) or .*, got 'report.json'"
    ):
        build_scorer("adaptive", table="report.json")
    with pytest.raises(TypeError, match="Expected `table` to be an AdaptiveTable, got int"):
        build_scorer("adaptive", table=3)
    with pytest.raises(ValueError, match="at least one step"):
        AdaptiveTable((), "x", 0.1)
    assert pickle.loads(pickle.dumps(TABLE)) == TABLE


# --- by held-out data ----------------------------------------------------------------------------------------------------


class Counted:
    """An evaluation that counts its calls: how far a network's first outputs are from those of the dense one."""

    def __init__(self, mlp: nn.Module) -> None:
        self.inputs = torch.randn(64, 32, generator=torch.Generator().manual_seed(2))
        self.outputs = mlp(self.inputs).detach()
        self.calls = 0

    def __call__(self, model: nn.Module) -> float:
        assert not model.training
        assert not torch.is_grad_enabled()
        self.calls += 1
        return -float((model(self.inputs) - self.outputs).square().mean())


def test_the_best_candidate_is_chosen_and_everything_tried_is_recorded(mlp: nn.Sequential, batches: list[Any]) -> None:
    evaluate, saliency = Counted(mlp), Saliency(mlp, batches)
    before = {name: value.clone() for name, value in mlp.state_dict().items()}
    report = prune_model(clone_pruned(mlp), "adaptive", amount=0.7, saliency=saliency, calibrate=Calibration(evaluate, budget=8))
    choice = report.choice
    assert choice is not None
    assert evaluate.calls == 8
    tried = [(trial.scorer, None if trial.alpha is None else round(trial.alpha, 3)) for trial in choice.trials]
    assert tried == [
        ("magnitude", None), ("information", 0.15), ("smooth_chaos", 0.15), ("chaos", 0.15), ("wiggle", 0.15),
        ("smooth_mouse", 0.15), ("information", 0.3), ("smooth_chaos", 0.3),
    ]  # fmt: skip
    sparser = prune_model(
        clone_pruned(mlp), "adaptive", amount=0.875, saliency=saliency, calibrate=Calibration(evaluate, budget=2)
    )
    assert sparser.choice is not None
    assert [(trial.scorer, trial.alpha) for trial in sparser.choice.trials] == [("magnitude", None), ("information", 0.0625)]
    best = max(choice.trials, key=lambda trial: trial.score)
    assert (choice.scorer, choice.alpha, report.mask_hash) == (best.scorer, best.alpha, best.mask_hash)
    for trial in choice.trials:
        options = {} if trial.alpha is None else {"alpha": trial.alpha}
        twin = clone_pruned(mlp)
        assert prune_model(twin, trial.scorer, amount=0.7, saliency=saliency, **options).mask_hash == trial.mask_hash
        with torch.no_grad():
            assert evaluate(finalize(twin).eval()) == pytest.approx(trial.score)
    assert all(torch.equal(value, before[name]) for name, value in mlp.state_dict().items())
    assert choice.source == "held-out data, budget 8"
    assert "by 8 evaluations" in str(report)


def test_the_same_calibration_chooses_the_same(mlp: nn.Sequential, batches: list[Any]) -> None:
    saliency = Saliency(mlp, batches)
    tables = [
        SICSAdaptive.calibrate(mlp, 0.8, evaluate=held_out_loss(iter(batches)), budget=5, saliency=saliency) for _ in range(2)
    ]
    assert tables[0] == tables[1]
    vector = saliency.vector(prunable_parameters(mlp))
    twins = [clone_pruned(mlp), clone_pruned(mlp)]
    prune.global_unstructured(prunable_parameters(twins[0]), SICSAdaptive, amount=0.8, saliency=vector, table=tables[0])
    how = Calibration(held_out_loss(batches), 5)
    prune_model(twins[1], SICSAdaptive, amount=0.8, saliency=vector, calibrate=how)
    assert torch.equal(twins[0][0].weight_mask.bool(), twins[1][0].weight_mask)
    with pytest.raises(ValueError, match=r"Expected a sparsity near 0\.8, for which this table was calibrated, got 0\."):
        compute_masks(mlp, tables[0], amount=0.6, saliency=saliency)


def test_masks_met_before_cost_nothing_and_ties_go_to_the_first(mlp: nn.Sequential) -> None:
    evaluate = Counted(mlp)
    how = Calibration(evaluate, 2, ("magnitude", "power", "log", "random"))
    report = prune_model(clone_pruned(mlp), "adaptive", amount=0.5, calibrate=how)
    assert report.choice is not None
    assert evaluate.calls == 2
    assert [trial.scorer for trial in report.choice.trials] == ["magnitude", "power", "log", "random"]
    assert len({trial.score for trial in report.choice.trials[:3]}) == 1
    assert report.choice.scorer == "magnitude"


def test_channels_and_later_steps_are_calibrated_as_they_will_be_pruned(mlp: nn.Sequential, batches: list[Any]) -> None:
    saliency, evaluate = Saliency(mlp, batches), Counted(mlp)
    groups = [channel_group(mlp, "0", "2"), channel_group(mlp, "2", "4")]
    how = Calibration(evaluate, 4, ("magnitude", ("wiggle", 2.0), ("bump", 2.0), "smooth_chaos"))
    report = prune_channels(clone_pruned(mlp), "adaptive", 0.75, saliency=saliency, groups=iter(groups), calibrate=how)
    assert report.choice is not None
    assert report.mask_hash == max(report.choice.trials, key=lambda trial: trial.score).mask_hash
    assert evaluate.calls == 4
    prune_model(mlp, "magnitude", amount=0.5)
    later = prune_to_sparsity(mlp, "adaptive", 0.8, saliency=saliency, calibrate=how)
    assert later.choice is not None
    assert (later.choice.sparsity, len(later.choice.trials)) == (0.8, 4)
    assert later.mask_hash == max(later.choice.trials, key=lambda trial: trial.score).mask_hash


def test_parameters_of_ones_own_are_calibrated_on_copies(mlp: nn.Sequential, batches: list[Any]) -> None:
    """As pairs, which a copy does not have, or as paths; the trials prune nothing else."""
    saliency, how = Saliency(mlp, batches), Calibration(Counted(mlp), 3, ("magnitude", "information", "smooth_chaos"))
    kept = mlp[0].weight.detach().clone()
    by_pairs = prune_model(clone_pruned(mlp), "adaptive", amount=0.5, saliency=saliency, params=["2.weight"], calibrate=how)
    report = prune_model(mlp, "adaptive", amount=0.5, saliency=saliency, params=iter([(mlp[2], "weight")]), calibrate=how)
    assert report.mask_hash == by_pairs.mask_hash
    assert [layer.name for layer in report.layers] == ["2.weight"]
    assert report.choice is not None
    assert report.mask_hash == max(report.choice.trials, key=lambda trial: trial.score).mask_hash
    assert torch.equal(mlp[0].weight, kept)


def test_calibrating_by_heads_of_a_pruned_model_takes_what_is_left() -> None:
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    vit = VisionTransformer(img_size=8, patch_size=4, embed_dim=32, depth=2, num_heads=8, num_classes=3).eval()
    images = torch.randn(6, 3, 8, 8)
    evaluate = held_out_accuracy([(images, vit(images).argmax(-1))])
    prune_channels(vit, "magnitude", 0.25, unit="head")
    report = prune_channels(vit, "adaptive", 0.5, unit="head", pool="layer", calibrate=Calibration(evaluate, 3))
    assert report.choice is not None
    assert report.pruned == 4 + 6
    assert all(0 <= trial.score <= 1 for trial in report.choice.trials)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Calibration(len, 1), ValueError, "`budget` to be at least 2"),
        (lambda: Calibration(len, 2.0), TypeError, "`budget` to be a whole number, got 2.0"),
        (lambda: Calibration(0.5, 3), TypeError, "`evaluate` to be callable, got float"),
        (lambda: Calibration(len, 3, ("magnitude",)), ValueError, "at least two different `candidates`"),
        (lambda: Calibration(len, 3, ("magnitude", "chaso")), ValueError, "Expected a scorer among magnitude"),
        (lambda: Calibration(len, 3, ("magnitude", ("chaos", -1.0))), ValueError, "`alpha` to be finite and not negative"),
        (lambda: held_out_loss([]), ValueError, "at least one batch"),
        (lambda: held_out_accuracy(torch.ones(3)), TypeError, "an iterable of"),
        (lambda: SICSAdaptive(0.7, calibrate=3), TypeError, "`calibrate` needs the model, which torch does not hand"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(make: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        make()


def test_calibration_goes_with_the_adaptive_scorer_of_a_model(mlp: nn.Sequential) -> None:
    how = Calibration(lambda model: float("nan"), 2)
    before = copy.deepcopy(mlp.state_dict())
    for method, options, error, words in (
        ("chaos", {}, TypeError, "Expected method 'adaptive' with `calibrate`, got 'chaos'"),
        ("adaptive", {"table": TABLE}, TypeError, "Expected no `table` beside `calibrate`"),
        ("adaptive", {"alpha": 0.2}, TypeError, "Expected no `alpha` beside `calibrate`"),
        ("adaptive", {}, ValueError, "Expected `evaluate` to return a finite number, got nan for magnitude"),
    ):
        with pytest.raises(error, match=re.escape(words)):
            prune_model(mlp, method, amount=0.7, calibrate=how, **options)
    with pytest.raises(TypeError, match="Expected `calibrate` to be Trials or a Calibration, got str"):
        prune_model(mlp, "adaptive", amount=0.7, calibrate="yes")
    with pytest.raises(TypeError, match="Expected a model to calibrate on, got list"):
        prune_model([(mlp[0], "weight")], "adaptive", amount=0.7, calibrate=how)
    assert mlp.state_dict().keys() == before.keys()


def test_the_method_and_the_class_it_stands_for_agree_on_one_tensor() -> None:
    weight, saliency = torch.randn(4096), torch.rand(4096)
    made = AdaptiveTable((Step(0.8, "smooth_mouse", None, "so"),), "x", 0.1)
    assert torch.equal(SICSAdaptive(0.8, saliency, table=made).prune(weight), SICSSmoothMouse(0.8, saliency).prune(weight))


# --- by name -------------------------------------------------------------------------------------------------------------


def test_the_measured_table_is_one_class_whose_strength_falls_with_what_is_kept(mlp: nn.Sequential) -> None:
    saliency = torch.rand(32 * 64 + 64 * 64)
    for amount, alpha in ((0.5, 0.15), (0.7, 0.15), (0.75, 0.125), (0.875, 0.0625)):
        masks, report = compute_masks(mlp, "adaptive", amount=amount, saliency=saliency, table="measured")
        assert (report.method, report.scorer) == ("adaptive", "information")
        assert report.alpha == pytest.approx(alpha, abs=1e-3)  # of S = k/n, not of the fraction asked for
        same, _ = compute_masks(mlp, build_scorer("information", alpha=report.alpha), amount=amount, saliency=saliency)
        assert all(torch.equal(masks[name], same[name]) for name in same)
        assert report.choice is not None
        assert report.choice.source == "measured on validation images"
    assert compute_masks(mlp, "adaptive", amount=0.875, saliency=saliency, table="measured", alpha=0.3)[1].alpha == 0.3
    assert compute_masks(mlp, "adaptive", amount=0.875, table="measured")[1].scorer == "magnitude"
    other = str(by_measurement(0.8, "activation"))
    assert other.endswith("; measured with gradient saliency, this one is activation (measured on validation images)")


def test_the_hypothesis_is_the_default_table(mlp: nn.Sequential) -> None:
    saliency = torch.rand(32 * 64 + 64 * 64)
    reports = [compute_masks(mlp, "adaptive", amount=0.8, saliency=saliency, **more)[1] for more in ({}, {"table": "hypothesis"})]
    assert reports[0].mask_hash == reports[1].mask_hash
    assert (reports[1].scorer, reports[1].alpha) == ("chaos", 0.15)
    plain, named, measured = (
        build_scorer("adaptive", table=table).fingerprint("gradient") for table in (None, "hypothesis", "measured")
    )
    assert plain == named != measured
    assert measured["parameters"] == {"alpha": {"class": "information", "share": 0.5, "most": 0.15}, "table": "measured"}


def test_a_method_of_torch_takes_a_table_by_name(mlp: nn.Sequential) -> None:
    pairs, saliency = [(mlp[0], "weight")], torch.rand(32 * 64)
    prune.global_unstructured(pairs, pruning_method=SICSAdaptive, amount=0.875, saliency=saliency, table="measured")
    assert int(mlp[0].weight_mask.sum()) == 32 * 64 // 8
    assert repr(SICSAdaptive(0.5, table="measured")) == "SICSAdaptive(amount=0.5, table='measured')"
    with pytest.raises(
        ValueError, match=r"Expected `table` to be an AdaptiveTable .* or one of hypothesis, measured, got 'best'"
    ):
        SICSAdaptive(0.5, table="best")


@pytest.mark.parametrize(("method", "unit"), [(SICSStructuredAdaptive, "head"), (SICSAdaptive, "channel")])
def test_a_methods_calibration_takes_the_unit_it_is_given(method: type, unit: str) -> None:
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, embed_dim=48, depth=1, num_heads=4, num_classes=4).eval()
    batches = [(torch.randn(4, 3, 32, 32), torch.randint(4, (4,)))]
    table = method.calibrate(vit, 0.5, evaluate=held_out_loss(batches), budget=2, unit=unit)
    assert table.unit == unit

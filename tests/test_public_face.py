"""Names that users import are there: written out, so that one that is lost fails here whatever the code says of itself.

The public face is what the packages export at the top, and what the README, the pages in docs and the data's own README name
below it. A name may be added here; one is only taken away with a word in the changelog.
"""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Module, and the names that come from it.
FACE = {
    "sics_plugin": """
    AdaptiveChoice AdaptiveTable Calibration ChannelGroup ChannelReport ContractError CoordinateScorer
    CoordinateUnresolvedWarning Coverage Evaluated FeatureSet Fusion FusionSearch LayerSparsity MagnitudeScorer
    PeerScorer PruningReport RankScorer SICSAdaptive SICSBump SICSChaos SICSFake SICSFisher SICSFusion SICSGradient
    SICSGrasp SICSInformation SICSLamp SICSLog SICSMagnitude SICSMagnitudePower SICSMethod SICSNofM SICSOrbitMean
    SICSOrbitPeak SICSOrbitRange SICSOrbitVariance SICSPower SICSRIA SICSRandom SICSRankIndicator
    SICSRelativeImportance SICSSensitivity SICSSine SICSSmoothChaos SICSSmoothMouse SICSSmoothOrbitMean
    SICSSmoothOrbitPeak SICSSmoothOrbitRange SICSSmoothOrbitVariance SICSSnip SICSSpline SICSStructured
    SICSStructuredAdaptive SICSStructuredBump SICSStructuredChaos SICSStructuredFake SICSStructuredGradient
    SICSStructuredInformation SICSStructuredLog SICSStructuredMagnitude SICSStructuredPower SICSStructuredRandom
    SICSStructuredSmoothChaos SICSStructuredSmoothMouse SICSStructuredWiggle SICSSynFlow SICSTaylor SICSWanda
    SICSWeierstrass SICSWiggle Saliency SaliencyVector Scorer SharedRanks Slice Trial Trials Units VanishedLayerWarning
    build_scorer channel_group channel_saliency check_scorer clone_pruned compute_channel_masks compute_masks coverage
    current_masks export_masks finalize find_groups get_scorer global_unstructured held_out_accuracy held_out_loss
    install_mask like_dense list_scorers load_masks load_shrunk mask_hash mask_zeros masked method_for prunable_parameters
    prune_channels prune_model prune_n_m prune_to_sparsity register_scorer remove_units removed_units search_fusion
    shrink structured_method_for unit_masks unregister_scorer
    """,
    "sics_plugin.complexity": "Complexity measure measure_units",
    "sics_analysis": """
    Analysis Arm AttributionLine Bootstrap BootstrapEquivalence ClaimResult Confirmed Contrast DataCheckWarning Decision
    Degenerate EffectSize EquivalenceResult FamilyLine FamilyResult Interval LineLook LineLooks LookPlan Looks LooksPower
    McNemarResult Monotonicity Plan PlateauClaim PowerResult Resolution RunWide SeedsNeeded SharePlan SignFlipResult
    Spectrum VarianceComponents Verdict Winner analyse attribute benjamini_hochberg best_of bootstrap_mean classify
    confirm_best contrast coverage_caveat crossing_probabilities degrade_test differences equivalence_test escape_power
    escape_test evaluate evaluate_all hedges_g holm holm_equivalence kappa_spectrum looks_power mcnemar_exact
    monotonicity_test nominal_levels plan planned_looks plateau_claim pool_arms repeated_interval repeated_p resolution
    run_wide seeds_needed sequential_p share_plan sign_flip_test superiority_test tost_power variance_components verdict
    """,
    "sics_analysis.claims": "paper_claims",
    "sics_analysis.report": """
    Answer FORMATS Origin ReportDocument build_document figure_list headline render report_table save_figures
    """,
    "sics_cli": "Metric Run Task Trainer replicate",
    "sics_cli.main": "main",
    "sics_data": "paper_claims_text reference_runs",
}
#: Modules that are run.
COMMANDS = ("sics_cli", "sics_plugin.scorers.spectra")
NAMES = [(module, name) for module, names in FACE.items() for name in names.split()]
PAGES = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TOP = ("sics_plugin", "sics_analysis", "sics_analysis.report", "sics_data")


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_public_name_is_there(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name), f"from {module} import {name} worked once"


@pytest.mark.parametrize("module", ["sics_plugin", "sics_analysis", "sics_analysis.report", "sics_cli"])
def test_what_is_exported_is_written_here(module: str) -> None:
    assert set(importlib.import_module(module).__all__) == set(FACE[module].split())


def imported(source: str) -> set[tuple[str, str]]:
    """(module, name) of every ``from sics_… import …``."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("sics_"):
            found |= {(str(node.module), alias.name) for alias in node.names}
    return found


def test_pages_import_only_what_is_written_here() -> None:
    found: set[tuple[str, str]] = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            found |= imported(block)
        for module, name in re.findall(r"\b(sics_(?:plugin|analysis|data)(?:\.[a-z]\w*)*)\.(\w+)\(", text):
            found.add((module, name))
    assert len(found) >= 20
    assert found <= set(NAMES), "named on a page, and not in FACE"


def test_benches_take_from_the_top_only_what_is_written_here() -> None:
    found = {pair for file in sorted((ROOT / "bench").glob("*.py")) for pair in imported(file.read_text(encoding="utf-8"))}
    assert len(found) >= 50
    assert {(module, name) for module, name in found if module in TOP} <= set(NAMES)


@pytest.mark.parametrize("file", [file.name for file in sorted((ROOT / "bench").glob("*.py"))])
def test_what_a_bench_imports_is_there(file: str) -> None:
    """The project's own modules, without running the bench."""
    for home, name in sorted(imported((ROOT / "bench" / file).read_text(encoding="utf-8"))):
        found = importlib.import_module(home)
        is_module = hasattr(found, "__path__") and importlib.util.find_spec(f"{home}.{name}") is not None
        assert is_module or hasattr(found, name), f"from {home} import {name}"


@pytest.mark.parametrize("module", COMMANDS)
def test_a_module_that_is_run_says_how(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()


def test_the_command_is_where_the_installed_script_looks() -> None:
    assert "sics-run = sics_cli.main:main" in (ROOT / "setup.cfg").read_text(encoding="utf-8")
    from sics_cli.main import main

    assert callable(main)

"""The checks of `make gpu`: on a real GPU under the marker `cuda`, and on a pretend one, so that they are known to run."""

import importlib.util
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

BENCH = Path(__file__).resolve().parents[1] / "bench"
NAMES = ("masks", "forms", "saliencies", "channels", "training", "graphs", "stacks", "replicate", "compiled")


@pytest.fixture(scope="module")
def checks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_checks", BENCH / "gpu_checks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_checks"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _as_in_a_worker() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings(action="ignore"):
        yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NAMES)
def test_on_a_gpu(checks: ModuleType, name: str) -> None:
    checks.prepared()
    print(checks.CHECKS[name](torch.device("cuda", 0)))


def test_every_check_is_listed(checks: ModuleType) -> None:
    assert tuple(checks.CHECKS) == NAMES


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "forms" else ()) for name in NAMES[: NAMES.index("replicate")]]
)
def test_on_a_pretend_gpu(checks: ModuleType, pretend: ModuleType, name: str) -> None:
    checks.prepared()
    options = checks.SMALL if name == "masks" else {}
    with pretend.PretendDevice():
        assert checks.CHECKS[name](pretend.DEVICE, **options)


def test_a_check_that_does_not_hold_fails(checks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were every mask another's, the check of masks would say so."""
    real = checks.sics.compute_masks
    amounts = iter([0.7, 0.6] * 20)
    monkeypatch.setattr(checks.sics, "compute_masks", lambda *a, **k: real(*a, **{**k, "amount": next(amounts)}))
    with pytest.raises(AssertionError, match="masks differ from the CPU's: magnitude, power"):
        checks.masks_are_the_cpus(torch.device("cpu"), **checks.SMALL)


def test_a_check_that_lacks_a_package_says_which(checks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own, or that of the command it starts."""
    monkeypatch.setitem(sys.modules, "timm.models.vision_transformer", None)
    found = checks.outcome("channels", torch.device("cpu"))
    assert (found["good"], found["said"]) == (False, "cannot be done: timm.models.vision_transformer is not installed here")
    trace = "Traceback ...\nModuleNotFoundError: No module named 'click'\n"
    monkeypatch.setattr(checks.subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stderr=trace))
    assert checks.outcome("replicate", torch.device("cpu"))["said"] == "cannot be done: click is not installed here"


@pytest.mark.slow
def test_replicate_is_checked_as_on_a_gpu(checks: ModuleType) -> None:
    """Its own way, on the CPU."""
    assert "rows the same, 0 of them flagged" in checks.replicate_goes_on(torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="needs a C++ compiler")
def test_what_is_compiled_is_checked_as_on_a_gpu(checks: ModuleType) -> None:
    checks.prepared()
    assert checks.compiled_agrees(torch.device("cpu")).startswith("fp32; gradients at most")


def test_gradients_that_are_others_fail(checks: ModuleType, pretend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "NEAR", {"fp32": -1.0})
    with pretend.PretendDevice(), pytest.raises(AssertionError, match="fp32 gradients by graph differ by 0 of the largest in"):
        checks.graphs_agree(pretend.DEVICE)

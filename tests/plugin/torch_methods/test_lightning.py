"""Lightning's ModelPruning, which looks at a method's signature before it calls it."""

from __future__ import annotations

import copy
import inspect
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset

import sics_plugin as sics

DATA = TensorDataset(torch.randn(16, 16), torch.randint(4, (16,)))
BATCHES = list(DataLoader(DATA, batch_size=8))
METHODS = [
    cls
    for cls in (getattr(sics, name) for name in sorted(sics.__all__))
    if isinstance(cls, type) and issubclass(cls, prune.BasePruningMethod) and hasattr(cls, "scorer_class")
]
UNSTRUCTURED = [cls for cls in METHODS if issubclass(cls, sics.SICSMethod)]
STRUCTURED = [cls for cls in METHODS if issubclass(cls, sics.SICSStructured)]
#: Those that need a saliency, which Lightning does not pass.
ALONE = [cls for cls in UNSTRUCTURED if cls.scorer_class.requires is None]


def test_all_classes_are_looked_at() -> None:
    assert (len(UNSTRUCTURED), len(STRUCTURED)) == (37, 13)
    assert sics.SICSAdaptive in ALONE


@pytest.mark.parametrize("cls", UNSTRUCTURED + STRUCTURED)
def test_a_method_shows_all_that_it_takes_by_name(cls: Any) -> None:
    shown = inspect.signature(cls).parameters
    assert list(shown)[:2] == ["amount", "saliency"]
    assert shown["saliency"].default is None
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in shown.values())
    scorers = set(inspect.signature(cls.scorer_class).parameters)
    own = {"amount", "saliency", "sparsity"} | ({"dim"} if issubclass(cls, sics.SICSStructured) else set())
    assert set(shown) == own | scorers
    defaults = {name: p.default for name, p in shown.items() if p.default is not p.empty}
    made = cls(0.5, **defaults)  # it takes what it shows
    assert (made.amount, made.scorer) == (0.5, cls.scorer_class())
    with pytest.raises(TypeError, match="nonsense"):
        cls(0.5, nonsense=1)


def test_a_method_of_ones_own_shows_its_scorers_parameters_too() -> None:
    class Own(sics.SICSChaos):  # type: ignore[misc,valid-type]
        scorer_class = sics.get_scorer("random")

    class Fixed(sics.SICSMethod):
        scorer_class = sics.get_scorer("chaos")

        def __init__(self, amount: float) -> None:
            super().__init__(amount, alpha=0.1)

    assert list(inspect.signature(Own).parameters) == ["amount", "saliency", "sparsity", "seed"]
    assert list(inspect.signature(Fixed).parameters) == ["amount"]
    assert list(inspect.signature(sics.SICSNofM).parameters) == ["n", "m", "scorer", "saliency", "parameters"]


def test_what_a_table_cannot_be_is_still_refused() -> None:
    for cls in (sics.SICSAdaptive, sics.SICSStructuredAdaptive):
        with pytest.raises(TypeError, match="`calibrate` needs the model"):
            cls(0.5, calibrate=1)
        assert cls(amount=0.5, table="measured").scorer.table == "measured"


@pytest.fixture
def fitted() -> Any:
    """``fitted(callback)``: a small module after one epoch of a Lightning trainer."""
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

        def training_step(self, batch: Any, _: int) -> Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    def fit(callback: Any, epochs: int = 1) -> Any:
        module = Module()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = lightning.Trainer(
                max_epochs=epochs, callbacks=[callback], logger=False, enable_checkpointing=False, enable_progress_bar=False,
                enable_model_summary=False, accelerator="cpu",
            )  # fmt: skip
            trainer.fit(module, DataLoader(DATA, batch_size=8))
        return module

    return fit


@pytest.mark.parametrize("cls", ALONE)
def test_model_pruning_takes_every_class_that_needs_no_saliency(cls: Any, fitted: Any) -> None:
    callbacks = pytest.importorskip("lightning.pytorch.callbacks")
    callback = callbacks.ModelPruning(cls, amount=0.5, parameter_names=["weight"], verbose=1, use_lottery_ticket_hypothesis=False)
    module = fitted(callback)
    weights = [module.body[i].weight for i in (0, 2)]
    assert not prune.is_pruned(module)  # Lightning made it permanent
    assert sum(int((w == 0).sum()) for w in weights) == sum(w.numel() for w in weights) // 2


def test_model_pruning_in_steps_and_with_lottery_tickets(fitted: Any) -> None:
    callbacks = pytest.importorskip("lightning.pytorch.callbacks")
    callback = callbacks.ModelPruning(
        sics.SICSAdaptive, amount=lambda epoch: 0.5, parameter_names=["weight"], make_pruning_permanent=False
    )
    module = fitted(callback, epochs=2)
    masks = sics.current_masks(module)
    assert list(masks) == ["body.0.weight", "body.2.weight"]
    assert sum(int((~m).sum()) for m in masks.values()) / sum(m.numel() for m in masks.values()) == pytest.approx(0.75, abs=1e-3)
    assert sics.prune_to_sparsity(module, "magnitude", 0.8).sparsity == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("cls", STRUCTURED[:2])
def test_model_pruning_refuses_structured_methods_itself(cls: Any) -> None:
    """Its own rule for every ``BasePruningMethod`` that is not unstructured, torch's ``LnStructured`` included."""
    callbacks = pytest.importorskip("lightning.pytorch.callbacks")
    for method in (cls, prune.LnStructured):
        with pytest.raises(Exception, match='Only the "unstructured" PRUNING_TYPE is supported'):
            callbacks.ModelPruning(method, use_global_unstructured=True)
        with pytest.raises(Exception, match="only supported with `use_global_unstructured=True`"):
            callbacks.ModelPruning(method, use_global_unstructured=False)


@pytest.mark.parametrize("cls", [cls for cls in UNSTRUCTURED if cls not in ALONE] + [sics.SICSChaos])
def test_the_callback_of_the_page_takes_those_that_need_one(cls: Any, fitted: Any) -> None:
    """docs/prune.md: a saliency gets in where Lightning prunes."""
    callbacks = pytest.importorskip("lightning.pytorch.callbacks")
    page = (Path(__file__).parents[3] / "docs" / "prune.md").read_text(encoding="utf-8")
    block = page.split("<!-- lightning -->")[1].split("```python\n")[1].split("```")[0]
    space: dict[str, Any] = {"batches": BATCHES, "loss": nn.functional.cross_entropy}
    exec(compile(block, "docs/prune.md", "exec"), space)
    callback = space["SICSPruning"](cls, amount=0.5, parameter_names=["weight"], use_lottery_ticket_hypothesis=False)
    kind = cls.scorer_class.requires or "gradient"
    given = () if kind in ("lamp", "relative") else (BATCHES, nn.functional.cross_entropy)
    callback.collect = lambda model: sics.Saliency(model, *given, kind=kind)
    assert space["callback"].pruning_fn is sics.SICSChaos
    if cls is sics.SICSChaos:
        callback = space["callback"]
    assert isinstance(callback, callbacks.ModelPruning)
    module = fitted(callback)
    report = callback.report
    assert (report.saliency_kind, report.scorer) == (kind, cls.scorer_class.name)
    assert report.sparsity == pytest.approx(0.5, abs=1e-3)
    assert sum(int((module.body[i].weight == 0).sum()) for i in (0, 2)) == report.pruned


def test_structured_classes_in_lightnings_steps(fitted: Any) -> None:
    """As ``pruning_fn`` they are refused by Lightning; called where it prunes, they work."""
    callbacks = pytest.importorskip("lightning.pytorch.callbacks")

    class Rows(callbacks.ModelPruning):
        def apply_pruning(self, amount: float) -> None:
            for module, name in self._parameters_to_prune:
                sics.SICSStructuredAdaptive.apply(module, name, amount=amount)

    module = fitted(Rows("l1_unstructured", parameter_names=["weight"], amount=0.5, use_lottery_ticket_hypothesis=False))
    rows = (copy.deepcopy(module).body[0].weight == 0).all(1)
    assert int(rows.sum()) == 32

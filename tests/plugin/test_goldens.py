"""The mask of every scorer, on every road to it, is the one it was: goldens of what no rearrangement of the code may change.

Weights and saliencies are integer formulas of their positions, so that no library's random numbers are in them (but ``random``'s
own). What has to be computed first, a network's gradients, is computed in float64, so that a processor's rounding moves no unit
across the cut. Only the public face of the plugin is used.

``python tests/plugin/test_goldens.py --write`` writes the goldens again. A mask that changed is news for the changelog: masks in
users' stored runs go by their hash.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import sics_plugin as sics

KEPT = Path(__file__).parent / "data" / "goldens.json"
SPARSITIES = (0.5, 0.8)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
COORDINATE = ("chaos", "smooth_chaos", "smooth_mouse", "wiggle", "bump", "information")
FEW = ("magnitude", "log", "chaos", "fake", "random", "adaptive", "gradient", "snip", "lamp", "ri", "wanda", "ria")
Case = tuple[str, str]

# --- numbers that are the same everywhere ---------------------------------------------------------------------------------


def uniform(n: int, seed: int) -> Tensor:
    """Multiples of 2⁻²⁴ in [0, 1), float64: the positions, mixed as integers."""
    h = (torch.arange(n, dtype=torch.int64) * 2654435761 + (seed + 1) * 362437) & 0xFFFFFFFF
    for shift in (15, 13):
        h = ((h ^ (h >> shift)) * 0x2C1B3C6D) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) >> 8).double() / 2**24


def weights(shape: tuple[int, ...], seed: int) -> Tensor:
    """Bell-shaped and signed, with ties (every fifth is a multiple of 1/64) and zeros (every eleventh); float64."""
    n = torch.Size(shape).numel()
    values = (uniform(n, 3 * seed) + uniform(n, 3 * seed + 1) + uniform(n, 3 * seed + 2) - 1.5) / 4
    at = torch.arange(n)
    values = torch.where(at % 5 == 0, (values * 64).round() / 64, values)
    return torch.where(at % 11 == 0, torch.zeros_like(values), values).view(shape)


def saliency(n: int, kind: str, seed: int = 77) -> sics.SaliencyVector:
    """Of 4096 values, so with ties, in [0, 1)."""
    return sics.SaliencyVector((uniform(n, seed) * 4096).floor().float() / 4096, kind=kind)


def filled(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter.copy_(weights(tuple(parameter.shape), seed))
    return model.eval()


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    """Two convolutions and two linear layers, 15 168 prunable weights; inputs of every layer come in fours."""
    layers = [nn.Conv2d(4, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten()]
    return filled(nn.Sequential(*layers, nn.Linear(256, 48), nn.ReLU(), nn.Linear(48, 8))).to(dtype)  # type: ignore[return-value]


def vit(dtype: torch.dtype = torch.float32) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return filled(VisionTransformer(img_size=8, patch_size=4, embed_dim=32, depth=2, num_heads=4, num_classes=5)).to(dtype)


def batches(channels: int, classes: int) -> list[tuple[Tensor, Tensor]]:
    """Three of six float64 images, 8 × 8."""
    shape = (6, channels, 8, 8)
    return [(4 * weights(shape, 50 + i), (uniform(6, 60 + i) * classes).long()) for i in range(3)]


def prunable(model: nn.Module) -> list[tuple[nn.Module, str]]:
    return list(sics.prunable_parameters(model))


def size(model: nn.Module) -> int:
    return sum(getattr(module, name).numel() for module, name in prunable(model))


def kind_for(name: str) -> str:
    return sics.get_scorer(name).requires or "gradient"


def saliencies(name: str, n: int) -> dict[str, sics.SaliencyVector | None]:
    """None where the scorer does without, and a vector of the kind that it takes."""
    needed = sics.get_scorer(name).requires
    without = {"none": None} if needed in (None, "lamp", "relative") else {}
    return {**without, "given": saliency(n, kind_for(name))}


# --- what is kept of a result ---------------------------------------------------------------------------------------------


#: Facts that reports have learnt since the goldens were written.
LATER = ("zeros", "zero_fraction", "coverage")


def told(report: sics.PruningReport) -> str:
    """The mask's hash, and a digest of all else the report says; its threshold to six digits."""
    facts = report.to_dict()
    for later in LATER:
        facts.pop(later)
    mask = facts.pop("mask_hash")
    facts["threshold"] = None if facts["threshold"] is None else f"{facts['threshold']:.6g}"
    return f"{mask[:24]} {hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:8]}"


def computed(model: nn.Module, name: str, amount: float, **options: Any) -> str:
    masks, report = sics.compute_masks(model, name, amount=amount, **options)
    assert sics.mask_hash(masks) == report.mask_hash
    return told(report)


def left_on(model: nn.Module) -> str:
    return sics.mask_hash(sics.current_masks(model))[:24]


def bytes_of(model: nn.Module) -> str:
    """Names, shapes and bytes of everything in a model."""
    sha = hashlib.sha256()
    for name, value in model.state_dict().items():
        sha.update(f"{name}{tuple(value.shape)}".encode() + value.contiguous().numpy().tobytes())
    return sha.hexdigest()[:24]


# --- the roads ------------------------------------------------------------------------------------------------------------


def scorers() -> Iterator[Case]:
    """Every scorer over one global pool."""
    for name in sics.list_scorers():
        for dtype in (*DTYPES, "fp64") if name in FEW else DTYPES:
            model = network(DTYPES.get(dtype, torch.float64))
            for amount in SPARSITIES:
                for which, vector in saliencies(name, size(model)).items():
                    yield f"{name} {dtype} S={amount} saliency={which}", computed(model, name, amount, saliency=vector)


def pools() -> Iterator[Case]:
    for name in FEW:
        for dtype, kind in DTYPES.items():
            model = network(kind)
            for which, vector in saliencies(name, size(model)).items():
                for pool in ("layer", "layer-rank", "row", "erk", "2:4", "1:4"):
                    amount = {"2:4": 0.5, "1:4": 0.75}.get(pool, 0.7)
                    yield f"{name} {dtype} {pool} saliency={which}", computed(model, name, amount, pool=pool, saliency=vector)
                floor = computed(model, name, 0.6, min_keep=0.3, saliency=vector)
                yield f"{name} {dtype} min_keep saliency={which}", floor


def histogram() -> Iterator[Case]:
    """The form of large pools, asked for on a small one."""
    for name in COORDINATE:
        for dtype, kind in {**DTYPES, "fp16": torch.float16}.items():
            model = network(kind)
            for which, vector in saliencies(name, size(model)).items():
                for amount in SPARSITIES:
                    found = computed(model, name, amount, saliency=vector, exact=False)
                    yield f"{name} {dtype} S={amount} saliency={which}", found
                by_layer = computed(model, name, 0.7, saliency=vector, exact=False, pool="layer")
                yield f"{name} {dtype} layer saliency={which}", by_layer


def methods() -> Iterator[Case]:
    """torch's own ``global_unstructured`` and ``apply``, a second prune on what is left, and scores that stand for weights."""
    for name in sics.list_scorers():
        method = sics.method_for(name)
        for dtype, kind in DTYPES.items():
            model = network(kind)
            parameters = prunable(model)
            vector = saliency(size(model), kind_for(name))
            prune.global_unstructured(parameters, pruning_method=method, amount=0.5, saliency=vector)
            yield f"{name} {dtype} first", left_on(model)
            left = int(sum(mask.sum() for mask in sics.current_masks(model).values()))
            again = saliency(left, kind_for(name), 78)
            prune.global_unstructured(parameters, pruning_method=method, amount=0.6, saliency=again, sparsity=0.8)
            yield f"{name} {dtype} second", left_on(model)
        module = network()[5]
        method.apply(module, "weight", 0.7, saliency=saliency(module.weight.numel(), kind_for(name)))
        yield f"{name} apply", left_on(module)
        model = network()
        scores = {(module, what): weights(tuple(getattr(module, what).shape), 90).float() for module, what in prunable(model)}
        vector = saliency(size(model), kind_for(name))
        prune.global_unstructured(prunable(model), method, importance_scores=scores, amount=0.7, saliency=vector)
        yield f"{name} scores", left_on(model)


def structured() -> Iterator[Case]:
    for name in sics.list_scorers():
        if sics.get_scorer(name).role == "peer" or sics.get_scorer(name).on_request:
            continue
        method = sics.structured_method_for(name)
        for dtype, kind in DTYPES.items():
            for layer, dim in ((2, 0), (2, 1), (5, 0), (5, 1)):
                for which in saliencies(name, 1):
                    module = network(kind)[layer]
                    shape, needed = module.weight.shape, kind_for(name)
                    vector = sics.SaliencyVector(saliency(module.weight.numel(), needed).view(shape), kind=needed)
                    given = vector if which == "given" else None
                    method.apply(module, "weight", 0.5, dim, saliency=given)
                    method.apply(module, "weight", 2, dim, saliency=given)
                    yield f"{name} {dtype} layer {layer} dim {dim} saliency={which}", left_on(module)


def n_of_m() -> Iterator[Case]:
    for name in FEW:
        for dtype, kind in DTYPES.items():
            for n, m in ((2, 4), (1, 4), (4, 8)):
                for layer in (2, 5):
                    module = network(kind)[layer]
                    vector = saliency(module.weight.numel(), kind_for(name))
                    sics.SICSNofM.apply(module, "weight", n, m, name, saliency=vector)
                    yield f"{name} {dtype} {n}:{m} layer {layer}", left_on(module)
            model = network(kind)
            report = sics.prune_n_m(model, name, 2, 4, saliency=saliency(size(model), kind_for(name)))
            assert report.mask_hash == sics.mask_hash(sics.current_masks(model))
            yield f"{name} {dtype} prune_n_m", told(report)


def units() -> Iterator[Case]:
    """Channels and heads of a vision transformer."""
    model = vit()
    for unit in ("channel", "head"):
        groups = sics.find_groups(model, unit)  # once: following a model's code takes far longer than ranking its units
        n = sum(group.size for group in groups)
        for name in sics.list_scorers():
            if unit not in sics.get_scorer(name).units:
                continue
            for which, vector in saliencies(name, n).items():
                for pool in ("global", "layer", "layer-rank", "erk"):
                    for amount in SPARSITIES:
                        found = None if pool == "global" and amount == SPARSITIES[0] else groups
                        options = {"unit": unit, "pool": pool, "saliency": vector, "min_keep": 1, "groups": found}
                        masks, report = sics.compute_channel_masks(model, name, amount, **options)
                        assert sics.mask_hash(masks) == report.mask_hash
                        yield f"{name} {unit} {pool} S={amount} saliency={which}", told(report)


def collected() -> Iterator[Case]:
    """Saliencies of every kind, collected in float64, and the masks by them."""
    model, other = network(torch.float64), vit(torch.float64)
    needing = {name: kind for name in sics.list_scorers() if (kind := sics.get_scorer(name).requires)}
    for name, kind in {**needing, "chaos": "gradient", "smooth_chaos": "activation"}.items():
        if kind in ("lamp", "relative"):
            continue
        found = sics.Saliency(model, batches(4, 8), kind=kind)
        for pool in ("global", "layer"):
            yield f"{name} {kind} {pool}", computed(model, name, 0.7, saliency=found, pool=pool)
        for unit in ("channel", "head"):
            if unit in sics.get_scorer(name).units and kind != "activation":
                found = sics.Saliency(other, batches(3, 5), kind=kind, unit=unit)
                masks, _ = sics.compute_channel_masks(other, name, 0.5, unit=unit, saliency=found, min_keep=1)
                yield f"{name} {kind} {unit}", sics.mask_hash(masks)[:24]


def whole() -> Iterator[Case]:
    """What acts on whole models: in steps, finished, with tables and trials, and made smaller."""
    for name in ("magnitude", "chaos", "information", "gradient"):
        model = network()
        vector = saliency(size(model), "gradient")
        yield f"{name} prune_model", told(sics.prune_model(model, name, amount=0.6, saliency=vector))
        sics.finalize(model)
        yield f"{name} finalize", bytes_of(model)
        model = network()
        yield f"{name} finalized", told(sics.prune_model(model, name, amount=0.6, saliency=vector, finalize=True))
        yield f"{name} finalized weights", bytes_of(model)
        model = network()
        for target, seed in ((0.5, 77), (0.8, 78)):
            left = size(model) - sum(int((~mask).sum()) for mask in sics.current_masks(model).values())
            vector = saliency(left, "gradient", seed)
            yield f"{name} to {target}", told(sics.prune_to_sparsity(model, name, target, saliency=vector, min_keep=0.05))
        model = network()
        vector = saliency(size(model), "gradient")
        method = sics.method_for(name)
        report = sics.global_unstructured(model, method, amount=0.6, saliency=vector, min_keep=0.3)
        assert report is not None
        yield f"{name} checked", told(report)
    for amount in (0.5, 0.7, 0.8):
        model = network()
        vector = saliency(size(model), "gradient")
        yield f"measured table S={amount}", computed(model, "adaptive", amount, saliency=vector, table="measured")
        probe = weights((48, 256), 40).float()
        trial = sics.Calibration(lambda pruned, probe=probe: float((pruned[5].weight.double() * probe).sum()), budget=4)
        yield f"calibrated S={amount}", told(sics.prune_model(model, "adaptive", amount=amount, saliency=vector, calibrate=trial))
    model = vit()
    for unit in ("channel", "head"):
        yield f"prune_channels {unit}", told(sics.prune_channels(model, "magnitude", 0.5, unit=unit, min_keep=1))
        yield f"{unit} removed", hashlib.sha256(repr(sics.removed_units(model, unit)).encode()).hexdigest()[:24]
    yield "shrink", bytes_of(sics.shrink(model))


ROADS: dict[str, Callable[[], Iterator[Case]]] = {
    road.__name__: road for road in (scorers, pools, histogram, methods, structured, n_of_m, units, collected, whole)
}


def found_on(road: str) -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few units, layers that vanish: said elsewhere
        return dict(ROADS[road]())


@pytest.mark.parametrize("road", ROADS)
def test_masks_are_the_ones_they_were(road: str) -> None:
    kept, found = json.loads(KEPT.read_text(encoding="utf-8"))[road], found_on(road)
    other = [case for case in kept if found.get(case) != kept[case]]
    assert not other, f"{len(other)} of {len(kept)} cases of {road!r} changed (or their reports): {'; '.join(other[:20])}"
    assert found.keys() == kept.keys(), "cases without a golden: python tests/plugin/test_goldens.py --write"


def test_every_scorer_is_on_every_road_it_can_take() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert set(kept) == set(ROADS)
    named = {road: {case.split()[0] for case in cases} for road, cases in kept.items()}
    assert named["scorers"] == named["methods"] == set(sics.list_scorers())
    assert named["units"] == {name for name in sics.list_scorers() if "head" in sics.get_scorer(name).units}


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("usage: python tests/plugin/test_goldens.py --write")
    torch.set_num_threads(1)
    text = json.dumps({road: found_on(road) for road in ROADS}, indent=0)
    KEPT.write_text(text + "\n", encoding="utf-8")

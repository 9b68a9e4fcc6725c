"""The kernels against torch and scipy, where the compact form's own tests cannot look."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numba.core import codegen
from scipy.special import ndtr

from sics_cli.experiment.compact_trainer import AdamW
from sics_cli.experiment.kernels import make_kernels

SINGLE = make_kernels(np.float32, 16, 4, 16)  # those of the digits preset


def test_gelu_and_its_slope_in_single_precision() -> None:
    u = np.concatenate([np.linspace(-14, 14, 100_001), [-1e4, -1e30, 0.0, 1e-30, 1e30]]).astype(np.float32)[None]
    slope, active = u.copy(), np.empty_like(u)
    SINGLE.gelu(slope, np.zeros(u.shape[1], np.float32), active)
    exact = u.astype(np.float64)
    below = ndtr(exact)
    density = np.exp(-0.5 * np.minimum(exact**2, 1e4)) / np.sqrt(2 * np.pi)
    assert np.abs(active - exact * below)[np.abs(u) < 3].max() < 4e-7
    np.testing.assert_allclose(active, exact * below, rtol=3e-7, atol=4e-7)
    np.testing.assert_allclose(slope, below + exact * density, atol=4e-7)


def test_what_is_not_a_number_stays_so() -> None:
    u = np.array([[np.nan, 1.0, np.inf]], np.float32)
    active = np.empty_like(u)
    SINGLE.gelu(u, np.zeros(3, np.float32), active)
    assert np.isnan(active).tolist() == [[True, False, False]]
    assert np.isposinf(active[0, 2])
    qkv = np.random.default_rng(0).standard_normal((16, 3 * 64)).astype(np.float32)
    qkv[3, 2] = np.nan  # a query of the first head
    weights, mixed = np.empty(16 * 4 * 16, np.float32), np.empty((16, 64), np.float32)
    SINGLE.attention(qkv.reshape(-1), np.zeros(192, np.float32), weights, mixed.reshape(-1))
    assert np.isnan(mixed[3, :16]).all()
    assert np.isfinite(np.delete(mixed, 3, axis=0)).all()


@pytest.mark.parametrize(("dtype", "close"), [(np.float64, 1e-12), (np.float32, 2e-6)])
def test_loss_its_gradient_and_what_is_right_are_torchs(dtype: Any, close: float) -> None:
    """The mean is of a batch of which these 6 are a part; two have a tie for the highest logit, the first of which counts."""
    kernel = make_kernels(dtype, 16, 4, 16).cross_entropy
    rng = np.random.default_rng(0)
    logits, bias = (5 * rng.standard_normal((6, 7))).astype(dtype), rng.standard_normal(7).astype(dtype)
    logits[4:, 2:4] = 90 - bias[2:4]
    labels = np.array([0, 6, 3, 3, 2, 3])
    theirs = torch.from_numpy(logits + bias).requires_grad_()
    loss = torch.nn.functional.cross_entropy(theirs, torch.from_numpy(labels), reduction="sum") / 10
    loss.backward()
    into, met = np.ones(7, dtype), np.array([1.0, 2.0])
    kernel(logits, bias, labels, 10, into, met)
    np.testing.assert_allclose(logits, theirs.grad, rtol=close, atol=close)
    np.testing.assert_allclose(into, 1 + theirs.grad.numpy().sum(axis=0), rtol=close, atol=close)
    assert met[0] == pytest.approx(1 + loss.item(), rel=close)
    assert met[1] == 2 + int((theirs.detach().numpy().argmax(axis=1) == labels).sum())


@pytest.mark.parametrize("place", [0, 3])
def test_a_logit_that_is_not_a_number_is_seen_in_the_loss(place: int) -> None:
    logits, met = np.zeros((2, 5), np.float32), np.zeros(2)
    logits[1, place] = np.nan
    SINGLE.cross_entropy(logits, np.zeros(5, np.float32), np.array([1, 1]), 2, np.zeros(5, np.float32), met)
    assert np.isnan(met[0])
    assert np.isnan(logits[1]).all()
    assert np.isfinite(logits[0]).all()


def test_softmax_of_scores_far_apart() -> None:
    """e^−1000 is nothing, and a row whose highest score is far below another row's is none the worse for it."""
    rng = np.random.default_rng(0)
    qkv = rng.standard_normal((16, 3 * 64)).astype(np.float32)
    qkv[5, :64] *= 300
    weights, mixed = np.empty(16 * 4 * 16, np.float32), np.empty((16, 64), np.float32)
    q, k, v = (torch.from_numpy(part.copy()).view(16, 4, 16).transpose(0, 1).double() for part in np.split(qkv, 3, axis=1))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(0, 1).reshape(16, 64)
    SINGLE.attention(qkv.reshape(-1), np.zeros(192, np.float32), weights, mixed.reshape(-1))
    np.testing.assert_allclose(mixed, expected.numpy(), atol=2e-5)
    np.testing.assert_allclose(weights.reshape(16, 4, 16).sum(axis=0), 1, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
def test_adamw_is_torchs(dtype: torch.dtype, close: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(1000, dtype=dtype, generator=generator)
    theirs, ours, gradients = torch.nn.Parameter(start.clone()), start.clone(), torch.zeros_like(start)
    reference = torch.optim.AdamW([theirs], weight_decay=0.05)
    kernels = SINGLE if dtype == torch.float32 else make_kernels(np.float64, 16, 4, 16)
    found = AdamW(ours, gradients, 0.05, kernels.adamw)
    for step in range(30):
        rate, moment = 1e-3 * (step + 1), 0.95 - 0.003 * step
        gradients.copy_(torch.randn(1000, dtype=dtype, generator=generator))
        theirs.grad = gradients.clone()
        reference.param_groups[0].update(lr=rate, betas=(moment, 0.999))
        reference.step()
        if step == 11:  # another optimiser goes on from its state
            state = {name: tensor.clone() for name, tensor in found.state().items()}
            found = AdamW(ours, gradients, 0.05, kernels.adamw)
            found.load(state)
        found.step(rate, moment)
        torch.testing.assert_close(ours, theirs.detach(), rtol=close, atol=close)
    assert found.state().keys() == reference.state[theirs].keys()


FEATURES = "import sics_cli.experiment.kernels, numba; print(numba.config.CPU_FEATURES)"


@pytest.mark.parametrize("asked", [None, "+sse4.2"])
def test_vectors_are_as_long_as_registers_unless_the_user_says_otherwise(asked: str | None) -> None:
    environment = {**os.environ} | ({} if asked is None else {"NUMBA_CPU_FEATURES": asked})
    done = subprocess.run([sys.executable, "-c", FEATURES], capture_output=True, text=True, check=True, env=environment)
    found = done.stdout.strip()
    host = codegen.get_host_cpu_features()
    assert found == (asked or (f"{host},-prefer-256-bit" if "+avx512f" in host.split(",") else "None"))


OWN = """
import sys
from pathlib import Path
from sics_cli.experiment.own_scorers import own_class
own_class(sys.argv[1])
import sics_cli.experiment.kernels
from numba.core.registry import cpu_target
print(cpu_target.target_context.codegen().magic_tuple()[2])
"""
SCORER = """
import numba, sics_plugin

@numba.njit
def helper(x):
    return x + 1

@sics_plugin.register_scorer
class Mine(sics_plugin.scorers.sics.Magnitude):
    name, summary = "mine", "m"
"""


def test_vectors_are_as_long_where_a_users_scorer_is_compiled_first(tmp_path: Any) -> None:
    """Workers meet a user's file before or after the kernels; their numbers must be the same."""
    (tmp_path / "mine.py").write_text(SCORER)
    command = [sys.executable, "-c", OWN, f"{tmp_path / 'mine.py'}:Mine"]
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CPU_FEATURES"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    host = codegen.get_host_cpu_features()
    assert done.stdout.strip() == (f"{host},-prefer-256-bit" if "+avx512f" in host.split(",") else host)


CHILD = """
import numpy as np, sys
from sics_cli.experiment.kernels import make_kernels
kernel = make_kernels(np.float32, 16, 4, 16).attention
arrays = [np.zeros(n, np.float32) for n in (16 * 192, 192, 16 * 64, 16 * 64)]
kernel(*arrays)
stats = kernel.__wrapped__.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"


def test_another_process_finds_the_machine_code(tmp_path: Any) -> None:
    """Compiling takes seconds: a second worker, and the next run, must not do it again."""
    found = []
    for _ in range(2):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, env=environment)
        found.append(done.stdout.split())
    assert found[1] == ["1", "0"], found


def test_a_full_disk_costs_time_and_nothing_else(tmp_path: Any) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FULL + CHILD], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout.split()) == (0, ["0", "1"]), done.stderr
    assert [path for path in tmp_path.rglob("*.nbc") if path.stat().st_size] == []

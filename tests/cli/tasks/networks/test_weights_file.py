"""A user's weights: what is read, and the one line for everything that is not."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sics_cli.base.errors import ConfigError
from sics_cli.tasks.networks.weights_file import load_weights, read_weights


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("ran").write_text, ("code ran",))


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return nn.Linear(3, 2).state_dict()


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
def test_a_state_dict_is_found_however_it_was_saved(
    tmp_path: Path, state: dict[str, torch.Tensor], wrapper: str | None, prefix: str
) -> None:
    named = {prefix + name: value for name, value in state.items()}
    torch.save(named if wrapper is None else {wrapper: named, "epoch": 3}, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt", "--checkpoint")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_safetensors_are_read(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(state, tmp_path / "w.safetensors")
    assert torch.equal(read_weights(tmp_path / "w.safetensors", "--checkpoint")["weight"], state["weight"])


def test_no_file_runs_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.ones(2), "x": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(ConfigError, match=f"--checkpoint .*{name}"):
            read_weights(tmp_path / name, "--checkpoint")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 not a zip", b"\x80\x04."])
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_foreign_bytes_are_one_line(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"w{ending}"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_weights(path, "--checkpoint")
    assert str(caught.value).startswith(f"--checkpoint {path}")
    assert "\n" not in str(caught.value)


def test_a_whole_model_or_no_tensor_is_refused(tmp_path: Path) -> None:
    for content in ({}, {"epoch": 3}, [torch.ones(2)]):
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(ConfigError, match="not a state dict of tensors"):
            read_weights(tmp_path / "w.pt", "--checkpoint")


def test_weights_of_another_network_are_named(state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ConfigError, match=r"FILE: does not fit the model: it lacks bias$"):
        load_weights(nn.Linear(3, 2), {"weight": state["weight"]}, "FILE")
    with pytest.raises(ConfigError, match=r"the model has no bias$"):
        load_weights(nn.Linear(3, 2, bias=False), state, "FILE")
    with pytest.raises(ConfigError, match=r"shapes differ: weight is \(2, 3\), the model's \(2, 4\)"):
        load_weights(nn.Linear(4, 2), state, "FILE")
    with pytest.raises(ConfigError, match="weight holds NaN or infinite values"):
        load_weights(nn.Linear(3, 2), {**state, "weight": state["weight"] * torch.nan}, "FILE")


def test_counters_of_batch_norms_may_be_missing() -> None:
    model, other = (nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)) for _ in range(2))
    state = {name: value for name, value in other.state_dict().items() if not name.endswith("num_batches_tracked")}
    load_weights(model, state, "w")
    assert torch.equal(model[0].weight, other[0].weight)
    with pytest.raises(ConfigError, match=r"it lacks 1\.running_mean$"):
        load_weights(model, {name: value for name, value in state.items() if name != "1.running_mean"}, "w")

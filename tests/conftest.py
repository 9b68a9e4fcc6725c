"""How tests are shared out over processes: file by file, and all that needs the one cluster to one process.

The pretend GPU and the one thread are here too, which tests of every package use.
"""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

# Processes that share the cores wait for each other's threads: a network as small as those here then trains four times slower.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before torch and numpy are imported; processes that tests start have it too

CLUSTER = Path(__file__).parent / "cli" / "slurm"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        # A file's tests share fixtures that take seconds to make; two clusters would fight over one machine.
        group = CLUSTER if CLUSTER in item.path.parents else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))


@pytest.fixture(scope="session")
def pretend() -> ModuleType:
    """tests/pretend_device.py (tests are collected in importlib mode, so it cannot be imported by name)."""
    spec = importlib.util.spec_from_file_location("pretend_device", Path(__file__).with_name("pretend_device.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in a worker: to networks this small a second thread is a hindrance."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

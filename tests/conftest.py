"""How tests are shared out over processes: file by file, and all that needs the one cluster to one process."""

from pathlib import Path

import pytest

CLUSTER = Path(__file__).parent / "cli" / "slurm"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        # A file's tests share fixtures that take seconds to make; two clusters would fight over one machine.
        group = CLUSTER if CLUSTER in item.path.parents else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))

"""What a user names in a file of their own is found there, or what lies near it is said."""

from pathlib import Path

import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.base.user_code import imported


def test_a_name_that_is_not_there_is_told_with_what_is_near(tmp_path: Path) -> None:
    file = tmp_path / "flowers.py"
    file.write_text("class Flowers: pass\n")
    assert imported(f"{file}:Flowers", "--task").__name__ == "Flowers"
    with pytest.raises(ConfigError, match=r"\(module flowers\.py has no attribute 'Flowres' \(did you mean Flowers\?\)\)$"):
        imported(f"{file}:Flowres", "--task")
    with pytest.raises(ConfigError, match=r"has no attribute 'Xyzzy'\)$"):
        imported(f"{file}:Xyzzy", "--task")

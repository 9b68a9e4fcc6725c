import subprocess
import sys

import pytest

import sics_analysis


@pytest.mark.parametrize("name", sics_analysis.__all__)
def test_every_exported_name_loads_from_its_module(name: str) -> None:
    value = getattr(sics_analysis, name)
    assert value.__name__ == name
    assert value.__module__.startswith("sics_analysis.")
    assert value.__doc__


def test_type_checkers_see_the_same_names() -> None:
    import ast
    from pathlib import Path

    tree = ast.parse(Path(str(sics_analysis.__file__)).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(sics_analysis.__all__)


def test_importing_the_package_loads_no_library() -> None:
    code = (
        "import sys, sics_analysis; print([m for m in ('numpy', 'scipy', 'pandas', 'statsmodels', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_tests_load_neither_torch_nor_pandas() -> None:
    code = (
        "import sys; from sics_analysis import equivalence_test, escape_test, hedges_g, mcnemar_exact, plateau_claim, verdict;"
        "print([m for m in ('pandas', 'statsmodels', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'pingouin'"):
        sics_analysis.pingouin  # noqa: B018
    assert set(sics_analysis.__all__) <= set(dir(sics_analysis))

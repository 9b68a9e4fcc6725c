"""Global random generators, seeded for a while from a key."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def seeded(key: str) -> Iterator[None]:
    """Seed torch's, numpy's and Python's global generators from a hexadecimal `key`, and put them back afterwards.

    Examples
    --------
    >>> with seeded("ff00" * 16):
    ...     first = random.random(), float(np.random.rand()), torch.rand(()).item()
    >>> with seeded("ff00" * 16):
    ...     first == (random.random(), float(np.random.rand()), torch.rand(()).item())
    True
    """
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 (a scorer may use the global one)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            random.seed(key)
            np.random.seed(int(key[:8], 16))  # noqa: NPY002
            torch.manual_seed(int(key[:15], 16))
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002

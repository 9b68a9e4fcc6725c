"""What `--slurm KEY=VALUE,...` may say, checked before anything is sent anywhere."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from sics_cli.experiment.errors import ConfigError

_NAME = re.compile(r"[\w.:@/+&|*()\[\],-]+")
#: What Slurm takes lists of names for, with commas.
_LISTS = frozenset(["partition", "constraint", "exclude"])
#: Days, in minutes: a mistyped limit is refused, not sent.
_LONGEST = 60 * 24 * 30


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """What is asked of Slurm for each job, and how the queue is used.

    `minutes_per_job` is the length jobs are given by putting short seeds together: shorter jobs keep a scheduler busy with
    starting and ending them, longer ones wait longer for a free node. `poll_seconds` is how often the queue is asked at most.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gpus_per_node: int = 0
    cpus_per_task: int = 1
    mem_gb: float | None = None
    timeout_min: int = 60
    minutes_per_job: float = 10.0
    poll_seconds: float = 15.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "partition=gpu,gpus_per_node=1,timeout_min=60"; a name may be several: "partition=gpu,long,timeout_min=60".

        Raises
        ------
        ConfigError
            In one line: a key that is not known or comes twice, or a value that is not accepted.

        Examples
        --------
        >>> SlurmOptions.parse("partition=gpu,timeout_min=90").timeout_min
        90
        """
        given: dict[str, Any] = {}
        for item in _items(text):
            key, equals, value = (part.strip() for part in item.partition("="))
            if not equals or not value:
                raise ConfigError(f"--slurm {item}: is not accepted: give KEY=VALUE,KEY=VALUE")
            if key not in _READERS:
                raise ConfigError(f"--slurm {item}: unknown key {key!r}: give {', '.join(_READERS)}")
            if key in given:
                raise ConfigError(f"--slurm {item}: {key} is given twice")
            given[key] = _read(key, value)
        return cls(**given)

    @property
    def job_minutes(self) -> float:
        """The length to give jobs: where a guess is half of the truth, the time limit must not cut them off.

        Examples
        --------
        >>> SlurmOptions(timeout_min=6).job_minutes, SlurmOptions().job_minutes
        (3.0, 10.0)
        """
        return min(self.minutes_per_job, self.timeout_min / 2)

    def parameters(self) -> dict[str, Any]:
        """The same in submitit's words."""
        plain = {"gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min"}
        asked = {key: value for key, value in asdict(self).items() if value is not None and key not in _OURS}
        if not self.gpus_per_node:
            del asked["gpus_per_node"]
        return {key if key in plain else f"slurm_{key}": value for key, value in asked.items()}

    def gpus(self, device: str) -> tuple[int, ...]:
        """GPUs inside a job, for the option `--device`: (0,) or none. This machine's own GPUs do not matter.

        Raises
        ------
        ConfigError
            The two options contradict each other.
        """
        if device.startswith("cuda") and not self.gpus_per_node:
            raise ConfigError(f"--device {device}: jobs get no GPU: give --slurm gpus_per_node=1")
        if device not in ("auto", "cuda", "cuda:0") and self.gpus_per_node:
            raise ConfigError(f"--device {device}: a job has one GPU and it is cuda:0: give auto, or --slurm gpus_per_node=0")
        return (0,) if self.gpus_per_node else ()


def _items(text: str) -> list[str]:
    """Cut at commas, but not within what Slurm takes a list for: "partition=a,b", "exclude=node[1,3],node7"."""
    items: list[str] = []
    for item in filter(None, map(str.strip, text.split(","))):
        if items and "=" not in item and items[-1].partition("=")[0].strip() in _LISTS:
            items[-1] += f",{item}"
        else:
            items.append(item)
    return items


def _read(key: str, value: str) -> Any:
    kind, accepts, good = _READERS[key]
    try:
        read = kind(value)
        if not good(read):
            raise ValueError
    except (ValueError, OverflowError):
        raise ConfigError(f"--slurm {key}={value}: is not accepted: give {accepts}") from None
    return read


_TEXT = (str, "a name without spaces or quotes", lambda text: _NAME.fullmatch(text) is not None)
_READERS: dict[str, tuple[Any, str, Any]] = {
    "partition": _TEXT,
    "account": _TEXT,
    "qos": _TEXT,
    "constraint": _TEXT,
    "exclude": _TEXT,
    "gpus_per_node": (int, "0 or 1: a seed takes one GPU, more GPUs take more seeds at a time", lambda count: count in (0, 1)),
    "cpus_per_task": (int, "a count from 1 to 1024", lambda count: 1 <= count <= 1024),
    "mem_gb": (float, "gigabytes above 0, at most 65536", lambda size: 0 < size <= 65536),
    "timeout_min": (int, f"whole minutes from 1 to {_LONGEST}", lambda minutes: 1 <= minutes <= _LONGEST),
    "minutes_per_job": (float, f"minutes from 0 to {_LONGEST} (0: a job for every seed)", lambda m: 0 <= m <= _LONGEST),
    "poll_seconds": (float, "seconds from 1 to 3600", lambda seconds: 1 <= seconds <= 3600),
}
_OURS = {"minutes_per_job", "poll_seconds"}
assert set(_READERS) == {field.name for field in fields(SlurmOptions)}

"""The Slurm that jobs go to, as a command holds it: its options, its queue, its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from sics_cli.base.errors import ConfigError
from sics_cli.slurm.executor import SlurmOptions, import_submitit
from sics_cli.slurm.queue import ClusterFacts, Queue, cluster_facts


class SlurmCluster:
    """Where jobs of one command go; no more than `at_once` of one array run at a time, None leaves that to the scheduler."""

    def __init__(self, options: SlurmOptions, at_once: int | None) -> None:
        self.options, self.at_once = options, at_once
        self.queue = Queue(options.poll_seconds)
        self._facts: ClusterFacts | None = None

    def facts(self) -> ClusterFacts:
        """What the controller says of itself, asked once."""
        if self._facts is None:
            self._facts = cluster_facts()
        return self._facts

    def name(self) -> str:
        """Name of the cluster."""
        return self.facts().name

    def check(self) -> None:
        """Refuse early where nothing can be submitted: submitit or Slurm is missing, or its controller does not answer."""
        import_submitit()
        self.name()
        try:
            import_submitit().AutoExecutor(folder="unused", cluster="slurm")
        except RuntimeError as error:
            raise ConfigError(f"--executor slurm: {error}") from None

    def describe(self) -> str:
        """Where jobs go and what each gets, in a few words."""
        options = self.options
        gpu = "one GPU" if options.gpus_per_node else f"{options.cpus_per_task} core{'s' * (options.cpus_per_task > 1)}"
        partition = f", partition {options.partition}" if options.partition else ""
        return f"Slurm cluster {self.name()}{partition} ({gpu}, at most {options.timeout_min} min each)"

    def gpus(self, device: str, ask: Callable[[], tuple[str, ...]]) -> tuple[int, ...]:
        """GPUs that a job has; what torch sees on this machine does not matter."""
        return self.options.gpus(device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Jobs go on."""

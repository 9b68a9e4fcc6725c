"""`--executor`: where a command's jobs run."""

from __future__ import annotations

from sics_cli.base.errors import ConfigError
from sics_cli.runs.ray_workers import RayWorkers, import_ray
from sics_cli.runs.workers import Workers
from sics_cli.slurm.executor import SlurmCluster, SlurmOptions

EXECUTORS = ("local", "slurm", "ray")


def make_place(executor: str, slurm: str | None, workers: int | None, jobs: int) -> Workers | SlurmCluster:
    """The workers, or the queue, that `--executor`, `--slurm` and `--workers` ask for; nothing is started or submitted yet.

    `workers` are processes, Ray tasks, or jobs of one array that run at a time; no more than `jobs` have something to do.
    """
    if slurm is not None and executor != "slurm":
        raise ConfigError(f"--slurm {slurm}: is for --executor slurm, this is --executor {executor}")
    if executor == "slurm":
        cluster = SlurmCluster(SlurmOptions.parse(slurm or ""), workers)
        cluster.check()
        return cluster
    if executor == "ray":
        import_ray()
        return RayWorkers(workers, jobs)
    return Workers(workers, jobs)

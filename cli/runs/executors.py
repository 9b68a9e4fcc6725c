"""`--executor`: where a command's jobs run."""

from __future__ import annotations

from sics_cli.base.errors import ConfigError
from sics_cli.runs.ray_workers import RayWorkers, import_ray
from sics_cli.runs.workers import Workers
from sics_cli.slurm.cluster import SlurmCluster
from sics_cli.slurm.executor import SlurmOptions

EXECUTORS = ("local", "slurm", "ray")


def make_place(executor: str, slurm: str | None, workers: int | None, jobs: int) -> Workers | SlurmCluster:
    """The workers, or the queue, that options ask for; nothing is started or submitted yet.

    Parameters
    ----------
    executor : str
        One of `EXECUTORS`.
    slurm : str or None
        What `--slurm` says.
    workers : int or None
        What `--workers` says: processes, Ray tasks, or jobs of one array that run at a time.
    jobs : int
        No more workers than this have something to do.

    Raises
    ------
    ConfigError, SicsError
        In one line: an option that is not accepted, an extra that is not installed, a Slurm that is not there.
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

"""Before anybody else computes: no jobs of a queue may be at the same cells."""

from __future__ import annotations

import contextlib
from pathlib import Path

from sics_cli.experiment.errors import LockedError, SicsError
from sics_cli.experiment.ledger import Ledger
from sics_cli.experiment.slurm_queue import ENDED, GONE, Queue, cluster_facts


def check_no_jobs(folder: Path) -> None:
    """Refuse to compute what jobs in a queue compute already.

    Raises
    ------
    LockedError
        Jobs of this run are on their way, or may be.
    """
    ledger = Ledger(folder)
    batches = ledger.open()
    if not batches:
        return
    queue = Queue(0.0)
    with contextlib.suppress(SicsError):
        if {batch.cluster for batch in batches} == {cluster_facts().name}:
            names = {state.name for job, state in queue.look(batch.name for batch in batches).items() if state.state not in ENDED}
            if queue.trouble is None and not names & {batch.name for batch in batches}:
                for batch in batches:
                    batch.ended |= dict.fromkeys(batch.open, GONE)
                    ledger.save(batch)
                return
    ids = " ".join(sorted({batch.submitted or batch.name for batch in batches}))
    raise LockedError(
        f"{folder}: jobs of this run may be on their way in the queue of cluster {batches[0].cluster} ({ids}): go on with "
        f"--executor slurm, or end them (scancel {ids}) and remove {ledger.folder}"
    )

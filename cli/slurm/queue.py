"""What a Slurm queue says of our jobs, asked with `squeue` and no more often than is polite.

`sacct` knows more and for longer, but works only where accounting is set up; what jobs have finished is seen in their files.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sics_cli.base.errors import ConfigError, SicsError

#: States that a job does not leave by itself; all others are on the way to one of them.
ENDED = frozenset([
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "SPECIAL_EXIT", "TIMEOUT",
])  # fmt: skip
RUNNING = frozenset(["RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"])
#: Reasons to wait that only a person can take away: the job asks for what its partition or account never gives, or is held.
_NEVER = re.compile(
    r"held|BadConstraints|Invalid|NotAllowed|MaxWall\w*PerJob|PerJobLimit|Partition(TimeLimit|NodeLimit|Down|Inactive)|NeverSatisfied",
    re.IGNORECASE,
)
#: What a job is called that the queue does not list.
GONE = "GONE"
#: Longer arrays are not made even where they are allowed; larger runs are several arrays.
MAX_ARRAY = 1000
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class JobState:
    """What the queue says of a job: Slurm's state, the reason it waits for, the name it was given, and its node."""

    state: str
    reason: str
    name: str
    node: str = ""

    @property
    def stuck(self) -> bool:
        """Whether it waits for what time alone does not bring."""
        return self.state == "PENDING" and _NEVER.search(self.reason) is not None


def run_command(command: Sequence[str]) -> str:
    """Output of one of Slurm's commands; a `SicsError` says that it failed, hangs, or is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
    except FileNotFoundError:
        raise ConfigError(f"{command[0]} is not installed here: --executor slurm needs a machine that can submit jobs") from None
    except subprocess.TimeoutExpired:
        raise SicsError(f"{command[0]} does not answer within {_PATIENCE_SECONDS:g} s") from None
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise SicsError(f"{command[0]} fails: {said[:300]}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """The name of the cluster that jobs submitted here go to, and how many jobs one array may have."""

    name: str
    array: int


def cluster_facts(run: Callable[[Sequence[str]], str] = run_command) -> ClusterFacts:
    """Ask the controller."""
    said = dict(re.findall(r"^(ClusterName|MaxArraySize)\s*=\s*(\S+)", run(["scontrol", "show", "config"]), re.MULTILINE))
    size = said.get("MaxArraySize", "")
    return ClusterFacts(
        said.get("ClusterName", "unknown"), min(MAX_ARRAY, int(size)) if size.isdigit() and int(size) else MAX_ARRAY
    )


class Queue:
    """The queue's jobs of certain names, asked for every so many seconds at most.

    `asked` is how often it has answered, `trouble` why it did not last time; what is known stays as it was.
    """

    def __init__(
        self,
        seconds: float,
        run: Callable[[Sequence[str]], str] = run_command,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.asked = 0
        self.trouble: str | None = None
        self._seconds, self._run, self._clock = seconds, run, clock
        self._last = float("-inf")
        self._states: dict[str, JobState] = {}
        self._seen_ended: dict[str, int] = {}

    def look(self, names: Iterable[str]) -> Mapping[str, JobState]:
        """What is known of jobs of these names, by id ("12", "12_0"); asks again if it is time to."""
        wanted = sorted(set(names))
        if wanted and self._clock() - self._last >= self._seconds:
            self._ask(wanted)
        return self._states

    def look_now(self, names: Iterable[str]) -> Mapping[str, JobState]:
        """Ask at once, for what cannot wait."""
        self._last = float("-inf")
        return self.look(names)

    def ended(self, job_id: str) -> str | None:
        """How a job ended, once two answers in a row said that it did.

        A job that is being requeued can look ended for a moment; and what a job wrote last may take a while to be seen
        here over a network file system.
        """
        return self.state(job_id) if self._seen_ended.get(job_id, 0) >= 2 else None

    def watch(self, job_ids: Iterable[str]) -> None:
        """From the next answer on, notice that these end, also by no longer being listed."""
        for job_id in job_ids:
            self._seen_ended[job_id] = 0

    def forget(self, job_id: str) -> None:
        """Stop watching a job."""
        self._seen_ended.pop(job_id, None)

    def node(self, job_id: str) -> str:
        """Where a job runs or ran; empty where that is not known."""
        found = self._states.get(job_id)
        return "" if found is None or found.node.startswith("(") else found.node

    def state(self, job_id: str) -> str:
        """Slurm's word for a job's state, or GONE."""
        found = self._states.get(job_id)
        return GONE if found is None else found.state

    def _ask(self, names: list[str]) -> None:
        self._last = self._clock()
        command = ["squeue", "--noheader", "--array", "--states=all", f"--name={','.join(names)}", "--format=%i|%T|%j|%N|%r"]
        try:
            answer = self._run(command)
        except SicsError as error:
            self.trouble = str(error)
            return
        self.trouble, self._states = None, parse_squeue(answer)
        self.asked += 1
        for job_id, count in self._seen_ended.items():
            over = self.state(job_id) in ENDED | {GONE}
            self._seen_ended[job_id] = count + 1 if over else 0


def parse_squeue(text: str) -> dict[str, JobState]:
    """Read lines "id|state|name|node|reason".

    >>> parse_squeue("12_0|PENDING|sics-a||Priority\\n")["12_0"].reason
    'Priority'
    """
    states = {}
    for line in text.splitlines():
        job_id, state, name, node, reason = [part.strip() for part in [*line.split("|", 4), "", "", "", ""][:5]]
        if state:
            states[job_id] = JobState(state, reason, name, node)
    return states

"""Start and stop a Slurm cluster of one node in a folder of its own, without touching any Slurm that is configured here.

    python tests/cli/slurm/executor.py start FOLDER     prints the environment that talks to it, NAME=VALUE a line
    python tests/cli/slurm/executor.py stop FOLDER

Works as root or as an ordinary user, without cgroups, systemd or accounting. Exit code 77: Slurm is not installed, or
cannot run here; the last line says why.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from pathlib import Path

CANNOT = 77
DAEMONS = ("slurmd", "slurmctld", "munged")
CLIENTS = ("sbatch", "srun", "salloc", "squeue", "scancel", "scontrol", "sinfo")
NODE = "tester"
CPUS = 4
PATIENCE = 60.0

CONFIG = """\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its old credential has run out: two minutes unless told otherwise.
AuthInfo=socket={folder}/munge.socket,cred_expire=10
SlurmctldPort={controller}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=0
JobRequeue=1
# Larger runs are several arrays, and a job of partition "urgent" takes the place of others, which are requeued.
MaxArraySize=101
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=2
MinJobAge=7200
SlurmctldTimeout=60
SlurmdTimeout=60
# A GPU to be asked for; no such device is there.
GresTypes=gpu
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=60 State=UP
PartitionName=short Nodes={node} MaxTime=1 State=UP
PartitionName=gpu Nodes={node} MaxTime=60 State=UP
PartitionName=urgent Nodes={node} MaxTime=1 PriorityTier=10 PreemptMode=OFF State=UP
"""


class CannotError(Exception):
    """Slurm cannot run here."""


def program(name: str) -> str:
    """Where a daemon or client is; daemons are often not on an ordinary user's PATH."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"]))
    if found is None:
        raise CannotError(f"{name} is not installed (Debian: apt-get install slurmctld slurmd slurm-client munge)")
    return found


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def environment(folder: Path) -> dict[str, str]:
    return {"SLURM_CONF": str(folder / "slurm.conf"), "SICS_TEST_NODE": NODE}


def start(folder: Path) -> dict[str, str]:
    """Write the configuration, start munge, controller and node; wait until the node is idle."""
    paths = {name: program(name) for name in (*DAEMONS, *CLIENTS)}
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # munge refuses a socket in a folder that others may write to, or cannot search
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    controller, node_port = free_ports(2)
    user, host = pwd.getpwuid(os.geteuid()).pw_name, socket.gethostname().split(".")[0]
    name = f"test{zlib.crc32(str(folder).encode())}"  # the same when it is started again in its folder
    (folder / "slurm.conf").write_text(
        CONFIG.format(
            name=name, host=host, user=user, folder=folder, controller=controller, node_port=node_port,
            node=NODE, cpus=CPUS,
        )
    )  # fmt: skip
    (folder / "gres.conf").write_text(f"NodeName={NODE} Name=gpu Count=1 File=/dev/null\n")
    everything = {**os.environ, **environment(folder)}
    munge = [
        paths["munged"], "--force", "--foreground", f"--key-file={key}", f"--socket={folder}/munge.socket",
        f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge/seed",
    ]  # fmt: skip
    begin(folder, "munged", munge, everything)
    wait_until(folder, "munged", (folder / "munge.socket").exists)
    begin(folder, "slurmctld", [paths["slurmctld"], "-D", "-f", str(folder / "slurm.conf")], everything)
    begin(folder, "slurmd", [paths["slurmd"], "-D", "-N", NODE, "-f", str(folder / "slurm.conf")], everything)

    def idle() -> bool:
        done = subprocess.run([paths["sinfo"], "-h", "-o", "%T"], env=everything, capture_output=True, text=True, check=False)
        return done.returncode == 0 and "idle" in done.stdout.split()

    wait_until(folder, "slurmctld", idle)
    return environment(folder)


def begin(folder: Path, name: str, command: list[str], env: dict[str, str]) -> None:
    with (folder / f"{name}.out").open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True, cwd=folder
        )
    (folder / f"{name}.started").write_text(str(process.pid))


def wait_until(folder: Path, name: str, condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + PATIENCE
    while not condition():
        died = [daemon for daemon in DAEMONS if (folder / f"{daemon}.started").exists() and not running(folder, daemon)]
        if died or time.monotonic() > end:
            name = died[0] if died else name
            said = [folder / f"{name}.out", folder / f"{name}.log"]
            lines = [line for path in said if path.exists() for line in path.read_text(errors="replace").splitlines() if line]
            raise CannotError(f"{name} does not start: {lines[-1] if lines else 'it says nothing'}")
        time.sleep(0.1)


def started(folder: Path, name: str) -> int | None:
    try:
        return int((folder / f"{name}.started").read_text())
    except (OSError, ValueError):
        return None


def running(folder: Path, name: str) -> bool:
    pid = started(folder, name)
    if pid is None:
        return False
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stop(folder: Path) -> None:
    """Cancel every job, end the daemons that `start` started, and nothing else."""
    everything = {**os.environ, **environment(folder)}
    if running(folder, "slurmctld"):
        with contextlib.suppress(CannotError, subprocess.TimeoutExpired):
            command = [program("scancel"), "--quiet", f"--user={pwd.getpwuid(os.geteuid()).pw_name}"]
            subprocess.run(command, env=everything, capture_output=True, check=False, timeout=20)
            await_empty(everything)
    for name in DAEMONS:
        pid = started(folder, name)
        for sent in (signal.SIGTERM, signal.SIGKILL):
            end = time.monotonic() + 5
            while pid is not None and running(folder, name) and time.monotonic() < end:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sent)
                time.sleep(0.1)
        (folder / f"{name}.started").unlink(missing_ok=True)


def await_empty(env: dict[str, str]) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        done = subprocess.run([program("squeue"), "-h"], env=env, capture_output=True, text=True, check=False, timeout=10)
        if done.returncode != 0 or not done.stdout.strip():
            return
        time.sleep(0.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    if asked.action == "stop":
        stop(folder)
        return 0
    try:
        print("\n".join(f"{name}={value}" for name, value in start(folder).items()))
    except CannotError as error:
        stop(folder)
        print(error, file=sys.stderr)
        return CANNOT
    return 0


if __name__ == "__main__":
    sys.exit(main())

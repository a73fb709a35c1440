"""Several processes that train one model, as torchrun starts them: who is who, and who writes.

One process is the main one: it writes, it talks, and the others wait where it goes first. What they
say to each other beside gradients goes through the store that torchrun keeps: short texts under
numbered names. torch is imported only when there are several.
"""

import contextlib
import io
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clir_cli.errors import UserError

if TYPE_CHECKING:
    import torch

COMMANDS = ("distill", "train")  # what several processes can do together
FAILED = "failed"
PATIENCE = 10.0  # seconds until a file of one machine is seen by another
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun tells


@dataclass(frozen=True)
class Team:
    """The processes of a run, and which of them this is.

    Attributes:
        rank: Number of this process; 0 is the main one.
        size: How many there are.
        local_rank: Number of this process on its machine.
        local_size: How many there are on its machine.
        store: Where they leave each other texts; None where there is one process.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    store: Any = None
    _numbers: Iterator[int] = field(default_factory=count, repr=False, compare=False)

    @property
    def main(self) -> bool:
        """Tell whether this is the process that writes and talks."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Tell whether there are others."""
        return self.size > 1

    def device(self, name: str) -> "torch.device":
        """Return the device for ``--device``: of several GPUs, the one of this process.

        Raises:
            UserError: The device is not there, or there are more processes than GPUs.
        """
        import torch

        from clir_cli.runtime import choose_device

        chosen = choose_device(name)
        if not self.several or chosen.type != "cuda":
            return chosen
        there = torch.cuda.device_count()
        if chosen.index is not None:
            raise UserError(
                f"--device {name}: each process has a GPU of its own; say --device cuda"
            )
        if self.local_size > there:
            raise UserError(
                f"{self.local_size} processes on this machine and {there} GPUs; start one a GPU: "
                f"--nproc-per-node {there}"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def spread(self, text: str) -> str:
        """Return what the main process says here, to all; the others wait for it."""
        name = f"said {next(self._numbers)}"
        if not self.several:
            return text
        if self.main:
            self.store.set(name, text)
            return text
        return self._hear(name)

    def collect(self, text: str) -> list[str]:
        """Return what each process says here, by rank, to the main one; the others go on."""
        number = next(self._numbers)
        if not self.several:
            return [text]
        if not self.main:
            self.store.set(f"told {number} {self.rank}", text)
            return [text]
        return [text, *(self._hear(f"told {number} {rank}") for rank in range(1, self.size))]

    def after_main(self, work: Callable[[], Any]) -> Any:
        """Return what work does in each process, the main one first: caches are written once."""
        if self.main:
            done = work()
        self.spread("done")
        return done if self.main else work()

    def require_shared(self, folder: Path) -> None:
        """Check that all processes see one folder.

        Raises:
            UserError: One does not; its machine is named.
        """
        if not self.several:
            return
        file = folder / ".shared"
        if self.main:
            file.write_text(secrets.token_hex(16), encoding="utf-8")
        wanted = self.spread(file.read_text(encoding="utf-8") if self.main else "")
        seen = self.main or _holds(file, wanted)
        answers = self.collect("" if seen else socket.gethostname())
        if self.main:
            file.unlink()
        blind = [(rank, host) for rank, host in enumerate(answers) if host]
        if blind:
            rank, host = blind[0]
            raise UserError(
                f"process {rank} (on {host}) does not see {folder} as process 0 does; put --home "
                "on a folder that all machines share"
            )

    def _hear(self, name: str) -> str:
        while not self.store.check([name]):
            if self.store.check([FAILED]):
                raise UserError("process 0 has ended")
            time.sleep(0.02)
        return self.store.get(name).decode()


def _holds(file: Path, wanted: str) -> bool:
    """Tell whether a file has a content, now or soon: shared disks take a moment."""
    until = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError):
            if file.read_text(encoding="utf-8") == wanted:
                return True
        if time.monotonic() > until:
            return False
        time.sleep(0.1)


ALONE = Team()
_team = ALONE


def current() -> Team:
    """Return the team that this process belongs to."""
    return _team


def launched() -> bool:
    """Tell whether torchrun, or something that speaks as it does, has started several processes."""
    return all(name in os.environ for name in LAUNCHED) and int(os.environ["WORLD_SIZE"]) > 1


def run_as_one(arguments: Sequence[str], command: Callable[[Sequence[str]], int]) -> int:
    """Run a command as one of several processes; return its exit code.

    Only the main process talks. Another is heard when it fails and the main one does not: its
    machine lacks something.
    """
    if not arguments or arguments[0] not in COMMANDS:
        if os.environ["RANK"] == "0":
            told = " and ".join(f"clir {name}" for name in COMMANDS)
            print(f"clir: torchrun is for {told}; start this one without it", file=sys.stderr)
        return 2
    with _joined() as team:
        if team.main:
            return _lead(team, arguments, command)
        return _follow(team, arguments, command)


@contextlib.contextmanager
def _joined() -> Iterator[Team]:
    """Make this process one of the team that the environment tells of."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # its advice, from each process
    import torch
    from torch import distributed

    global _team
    # The address is torchrun's; its own agent keeps the store, and outlives us.
    store, rank, size = next(distributed.rendezvous("env://", timeout=timedelta(minutes=15)))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(
        backend,
        store=distributed.PrefixStore("group", store),
        rank=rank,
        world_size=size,
        timeout=timedelta(hours=2),  # one waits while another writes or encodes
    )
    _team = Team(
        rank,
        size,
        int(os.environ.get("LOCAL_RANK", rank)),
        int(os.environ.get("LOCAL_WORLD_SIZE", size)),
        distributed.PrefixStore("clir", store),
    )
    try:
        yield _team
    finally:
        _team = ALONE


def _lead(team: Team, arguments: Sequence[str], command: Callable[[Sequence[str]], int]) -> int:
    code = 1
    try:
        code = command(arguments)
    except Exception as error:
        if not _is_lost(error):
            raise
        print(
            "clir: another process of this run has ended; the same command goes on from the last "
            "checkpoint",
            file=sys.stderr,
        )
    finally:
        if code:
            team.store.set(FAILED, str(code))
    if not code:
        _leave()
    return code


def _follow(team: Team, arguments: Sequence[str], command: Callable[[Sequence[str]], int]) -> int:
    said = io.StringIO()
    code = 1
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            code = command(arguments)
    except Exception as error:
        if not _is_lost(error):
            raise
        said.write("clir: process 0 has ended\n")
    if code and not _main_fails(team):
        print(f"process {team.rank} on {socket.gethostname()}: {said.getvalue()}", file=sys.stderr)
    if not code:
        _leave()
    return code


def _leave() -> None:
    from torch import distributed

    distributed.barrier()  # none goes while another still needs it
    distributed.destroy_process_group()


def _main_fails(team: Team) -> bool:
    """Tell whether the main process fails too, now or in a moment, and says what is wrong."""
    until = time.monotonic() + 3
    with contextlib.suppress(Exception):  # the store is gone, and so is the main process
        while time.monotonic() < until:
            if team.store.check([FAILED]):
                return True
            time.sleep(0.05)
    return False


def _is_lost(error: Exception) -> bool:
    """Tell whether an error means that another process is gone."""
    from torch import distributed

    told = str(error).lower()
    return isinstance(error, distributed.DistError) or "gloo" in told or "nccl" in told

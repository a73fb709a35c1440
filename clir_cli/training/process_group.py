"""Several processes that train one model under torchrun: rank, size, and what they exchange.

Process 0 is the main one: it alone writes files and logs, and the others wait for it where it goes
first. torch is imported only if there are several.
"""

import contextlib
import io
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from clir_cli.errors import UserError
from clir_cli.runtime import choose_device, soon

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")
Command = Callable[[Sequence[str]], int]

COMMANDS = ("distill", "train")  # what several processes can do together
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets
FAILED = "failed"  # a key of the store: process 0 has failed, and has printed why
LOST = (
    "another process of this run has ended; run the same command again to resume from the last "
    "checkpoint"
)
VISIBLE_AFTER = 10.0  # seconds until other machines see a new file
LONGEST_WAIT = timedelta(days=1)  # one process waits while another writes or encodes


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run, and which of them this is.

    ``rank`` is the number of this process, 0 the main one; ``local_rank`` and ``local_size`` count
    those of its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_main(self) -> bool:
        """Return True if this is the process that writes files and logs."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Return True if there are other processes."""
        return self.size > 1

    def device(self, name: str) -> "torch.device":
        """Return the device for ``--device``: of several GPUs, the one of this process.

        Raises:
            UserError: The device does not exist, or there are more processes than GPUs.
        """
        import torch

        device = choose_device(name)
        if not self.several or device.type != "cuda":
            return device
        gpus = torch.cuda.device_count()
        if device.index is not None:
            raise UserError(f"--device {name}: each process uses its own GPU; use --device cuda")
        if self.local_size > gpus:
            raise UserError(
                f"{self.local_size} processes on this machine and {gpus} GPUs; start one per GPU: "
                f"--nproc-per-node {gpus}"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def broadcast(self, value: Result) -> Result:
        """Return the main process's value in every process; all wait for it."""
        values = [value]
        if self.several:
            from torch import distributed

            distributed.broadcast_object_list(values, src=0)
        return values[0]

    def gather(self, value: Result) -> list[Result]:
        """Return each process's value, by rank, in every process."""
        values = [value] * self.size
        if self.several:
            from torch import distributed

            distributed.all_gather_object(values, value)
        return values

    def main_first(self, work: Callable[[], Result]) -> Result:
        """Return the result of ``work``, in the main process first: caches are written once."""
        if not self.is_main:
            self.broadcast(None)
            return work()
        result = work()
        self.broadcast(None)
        return result

    def require_shared(self, folder: Path) -> None:
        """Check that all processes see the same folder.

        Raises:
            UserError: One does not; its machine is named.
        """
        if not self.several:
            return
        file, token = folder / ".shared", self.broadcast(secrets.token_hex(16))
        if self.is_main:
            file.write_text(token, encoding="utf-8")
        appears = soon(lambda: _has(file, token), VISIBLE_AFTER)
        hosts = self.gather("" if appears else socket.gethostname())
        if self.is_main:
            file.unlink()
        for rank, host in enumerate(hosts):
            if host:
                raise UserError(
                    f"process {rank} (on {host}) does not see {folder} as process 0 does; put "
                    "--home on a folder that all machines share"
                )


def _has(file: Path, content: str) -> bool:
    with contextlib.suppress(OSError):
        return file.read_text(encoding="utf-8") == content
    return False


ALONE = ProcessGroup()
_current = ALONE


def current() -> ProcessGroup:
    """Return the process group of this process."""
    return _current


def launched() -> bool:
    """Return True if torchrun, or a launcher like it, has started several processes."""
    return all(name in os.environ for name in LAUNCHED) and os.environ["WORLD_SIZE"].strip() != "1"


def run_as_one(arguments: Sequence[str], command: Command) -> int:
    """Run a command as one of several processes; return its exit code.

    Only the main process prints. Another one prints its error if the main process does not fail
    too: its machine lacks something.
    """
    if not arguments or arguments[0] not in COMMANDS:
        if os.environ["RANK"] == "0":
            names = " and ".join(f"clir {name}" for name in COMMANDS)
            print(f"clir: torchrun is for {names}; start this one without it", file=sys.stderr)
        return 2
    numbers = [os.environ[name] for name in ("RANK", "WORLD_SIZE", "MASTER_PORT")]
    if not all(number.isdecimal() for number in numbers) or int(numbers[0]) >= int(numbers[1]):
        values = ", ".join(f"{name}={os.environ[name]}" for name in LAUNCHED)
        print(f"clir: {values}: not what torchrun sets; unset them", file=sys.stderr)
        return 2
    global _current
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # its advice, from each process
    import torch
    from torch import distributed

    # The address is torchrun's; its own agent keeps the store, and outlives us.
    store, rank, size = next(distributed.rendezvous("env://", timeout=timedelta(minutes=15)))
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=distributed.PrefixStore("group", store),
        rank=rank,
        world_size=size,
        timeout=LONGEST_WAIT,
    )
    local = (int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", size)))
    _current = ProcessGroup(rank, size, *local)
    try:
        code = (_run_main if rank == 0 else _run_other)(arguments, command, store)
        if not code:
            distributed.barrier()  # none leaves while another still needs it
            distributed.destroy_process_group()
    finally:
        _current = ALONE
    return code


def leave(code: int) -> NoReturn:
    """End this process at once with an exit code, after ``run_as_one``.

    The interpreter is not finalised: a thread of gloo that still holds a Python object would be
    unwound there, which aborts the process although its work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _run_main(arguments: Sequence[str], command: Command, store: Any) -> int:
    code = 1
    try:
        with _explained(LOST):
            code = command(arguments)
    finally:
        if code:
            store.set(FAILED, str(code))
    return code


def _run_other(arguments: Sequence[str], command: Command, store: Any) -> int:
    code, errors = 1, io.StringIO()
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(errors),
        _explained("process 0 has ended"),
    ):
        code = command(arguments)
    if code and not _main_failed(store):
        rank = os.environ["RANK"]
        print(f"process {rank} on {socket.gethostname()}: {errors.getvalue()}", file=sys.stderr)
    return code


@contextlib.contextmanager
def _explained(message: str) -> Iterator[None]:
    """Print a message in place of an error which means that another process has ended."""
    from torch import distributed

    try:
        yield
    except Exception as error:
        text = str(error).lower()
        if not (isinstance(error, distributed.DistError) or "gloo" in text or "nccl" in text):
            raise
        print(f"clir: {message}", file=sys.stderr)


def _main_failed(store: Any) -> bool:
    """Return True if the main process fails too, now or in a moment, and prints the cause."""
    with contextlib.suppress(Exception):  # the store is gone, and so is the main process
        return soon(lambda: store.check([FAILED]), 3)
    return False

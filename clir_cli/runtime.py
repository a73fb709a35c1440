"""The machine: device, number format, seeds, versions. torch is imported only when needed."""

import os
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from clir_cli.errors import UserError, nearest

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
CHECKOUT = Path(__file__).resolve().parents[1]
CARDS = "CUDA_VISIBLE_DEVICES"


def check_device_name(name: str) -> None:
    """Refuse a name that no machine has; the machine itself is not asked.

    Raises:
        UserError: The name is not one of DEVICES, with a number behind cuda perhaps.
    """
    if name not in DEVICES and not re.fullmatch(r"cuda:\d+", name):
        raise UserError(f"unknown device {name!r}: {nearest(name, DEVICES)}")


def choose_device(name: str) -> "torch.device":
    """Return the torch device for ``--device``; UserError if it is unknown, or is not there."""
    import torch

    check_device_name(name)
    available = {"cpu": True, "cuda": torch.cuda.is_available()}
    available["mps"] = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device(next(each for each in ("cuda", "mps", "cpu") if available[each]))
    kind, _, number = name.partition(":")
    if not available[kind] or int(number or 0) >= max(torch.cuda.device_count(), 1):
        raise UserError(f"--device {name}: this machine has none that torch can use; try auto")
    return torch.device(name)


def cards(device: str) -> list[str]:
    """Return the GPUs that ``--device`` leaves to choose from, as CUDA_VISIBLE_DEVICES names them.

    Those that the user made visible, else all; none for a CPU or for one card that is named.
    """
    if device not in ("auto", "cuda"):
        return []
    named = os.environ.get(CARDS)
    if named is not None:
        cards = [card.strip() for card in named.split(",")]
        return [card for card in cards if card and not card.startswith("-")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def choose_precision(name: str, device: "torch.device") -> "torch.dtype":
    """Return the dtype for autocast: bfloat16 where the machine computes in it, else float32."""
    import torch

    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Without the instructions bfloat16 is emulated and slower than float32.
        native = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if native else torch.float32


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def soon(condition: Callable[[], bool], seconds: float) -> bool:
    """Return True if a condition holds, now or within some seconds: shared disks take a moment."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch, so that a run can be repeated on the same machine."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def versions() -> dict[str, str]:
    """Return what a result depends on beside its settings: versions and machine."""
    names = ("clir-cli", "torch", "transformers", "tokenizers", "geomloss", "numpy", "ir-measures")
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


@lru_cache
def commit(checkout: Path = CHECKOUT) -> str:
    """Return the commit of the checkout that runs, with -dirty if files differ; else nothing."""
    if not (checkout / ".git").exists():  # installed
        return ""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):  # no git, or not the owner's checkout
        return ""
    return done.stdout.strip()


def hardware() -> dict[str, str]:
    """Return what computes here: processor, cores, and the GPUs that torch has begun to use."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        text = ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    name = named[1].strip() if named else platform.processor() or platform.machine()
    found = {"processor": name, "cores": str(processors())}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        count = torch.cuda.device_count()
        found["GPU"] = torch.cuda.get_device_name() + (f", {count} of them" if count > 1 else "")
    return found


def hush_libraries() -> None:
    """Keep the progress bars and advice of libraries off the terminal; ours are enough."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()

"""Ending between two steps: a signal waits until what was computed can be saved."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@contextmanager
def between_steps() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns True once the process was asked to end.

    The block should then end; after it the first signal has the effect that it had before. A second
    signal has it at once. Signals that are ignored, or whose effect is not Python's, are left
    alone, as all are outside the main thread, which alone handles signals.
    """
    came: list[int] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
    held = {number: handler for number, handler in before.items() if callable(handler)}

    def hold(number: int, frame: Any) -> None:
        came.append(number)
        if len(came) > 1:
            held[number](number, frame)

    for number in held:
        signal.signal(number, hold)
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    if came:
        held[came[0]](came[0], None)

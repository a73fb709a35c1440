"""The server that transfers are tried against."""

from collections.abc import Iterator

import pytest
from local_server import serving
from unruly_server import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    with pytest.MonkeyPatch.context() as patch, serving(running):
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield running
        running.closing.set()

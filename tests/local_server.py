"""What the tests' own web servers share: an address of this machine, threads, silence."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class QuietHandler(BaseHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


class LocalServer(ThreadingHTTPServer):
    """A server on a free port."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *words: object) -> None:
        pass  # the other side hung up, as it should


@contextmanager
def serving(server: LocalServer) -> Iterator[None]:
    """Let a server answer, and close it in the end."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    with server:
        thread.start()
        yield
        server.shutdown()
        thread.join()

"""Files of data sets in caches of huggingface_hub: its own, and copies of it on a mirror."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_ADDRESS = re.compile(r"https://huggingface\.co/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class HubFile(NamedTuple):
    """A file of a data set: ``revision`` is the commit, or what a mirror has in its place."""

    repository: str
    revision: str
    path: str


def tree_of(url: str) -> HubFile:
    """Return what the address of a data set's file says."""
    found = _ADDRESS.fullmatch(url)
    assert found is not None, url
    return HubFile(*found.groups())


def cached_file(url: str, folder: Path | None = None) -> Path | None:
    """Return a file of a data set that is in a cache of huggingface_hub; None if it is not.

    The cache is huggingface_hub's own, or a copy in ``folder`` or its ``hub``.
    """
    if not _ADDRESS.fullmatch(url):
        return None
    from huggingface_hub import try_to_load_from_cache

    repository, revision, path = tree_of(url)
    for cache in (folder, folder / "hub") if folder else (None,):
        found = try_to_load_from_cache(repository, path, cache, revision, "dataset")
        if isinstance(found, str):
            return Path(found)
    return None


def caches(mirror: str) -> Iterator[Path]:
    """Yield the folders that are asked before the hub: the mirror and the shared cache."""
    for name in (mirror, os.environ.get("CLIR_CACHE", "")):
        if name and Path(name).is_dir():
            yield Path(name)


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Keep huggingface_hub from drawing its own bars."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    was = are_progress_bars_disabled()
    if was:
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()

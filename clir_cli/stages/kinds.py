"""The artifact graph, declared: one ``ArtifactSpec`` for each kind of artifact.

Fingerprints, messages, commands, the order of ``reproduce`` and what a setting reaches follow from
these declarations (``artifacts/graph.py``). Nothing here needs torch, so that a stage that finds
nothing to do ends at once; ``make`` imports what it needs.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell, group_name
from clir_cli.artifacts.command import Command
from clir_cli.artifacts.spec import ArtifactSpec, Input, Ref
from clir_cli.corpus.collections import IRDS, collection_label
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.files import digest, file_digest
from clir_cli.retrieval import models
from clir_cli.settings import Settings
from clir_cli.stages.support import paths
from clir_cli.stages.support.lexicons import (
    dictionary_of,
    lexicon_plans,
    query_dictionary,
    switching_pairs,
)
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.models import (
    encoder_input,
    fetched_folder,
    first_pass,
    initial_input,
    model_ref,
    student_input,
    student_of,
    teacher_input,
)
from clir_cli.stages.support.recipes import RECIPES, trained_cell
from clir_cli.stages.support.runs import fused_cells, index_of, translations_of
from clir_cli.stages.support.sources import (
    bitext_input,
    collection_options,
    dictionary_input,
    documents_input,
    queries_input,
    training_inputs,
)
from clir_cli.stages.support.workspace import Workspace

# What a download must repeat to fetch the same files and models.
DOWNLOADED = (
    "bitext.sources", "bitext.files", "dictionary.sources", "dictionary.files", "teacher.model",
    "student.model", "nmt.model", "models", "contrastive.collection",
)  # fmt: skip


# ------------------------------------------------------------------ downloads


def _download_command(ref: Ref) -> Command:
    pairs = ",".join(map(str, ref.pairs)) or "all"
    collection = collection_options(ref.settings)
    trains = ref.settings.contrastive.collection
    if ref.kind == "training collection" and trains.startswith(IRDS):  # fetched as one that tests
        collection = [("--collection", trains)]
    return Command("download", (("--lang", pairs), *collection))


def _downloaded(ref: Ref) -> list[str]:
    # Models that clir trains are not fetched, and need not be named.
    names = {
        "teacher.model": ref.settings.teacher.model,
        "student.model": ref.settings.student.model,
    }
    return [key for key in DOWNLOADED if not trained_cell(names.get(key, ""))]


def _fetch(workspace: Workspace, ref: Ref) -> None:
    from clir_cli.stages.download import fetch_part

    fetch_part(workspace, ref)


def _model_input(ref: Ref) -> Input:
    pinned = {file.path: file.sha256 for file in models.model_entry(ref.name).files}
    return Input(lambda _: pinned)


def _model_identity(ref: Ref) -> dict[str, Any]:
    model = models.model_entry(ref.name)
    return {"name": ref.name, "repository": model.repository, "revision": model.revision}


# ------------------------------------------------------------------ students


def _student_settings(ref: Ref) -> dict[str, str]:
    if ref.cell.method in RECIPES:
        return _recipe_settings(ref)
    method = METHODS[ref.cell.method]
    names = ["teacher", "student", "bitext", "training", *method.objective]
    names += ["transport"] if method.transports or ref.settings.student.rows == "plans" else []
    names += ["joint"] if ref.cell.joint else []
    return {name: name for name in names}


def _unreached_by_student(ref: Ref) -> list[str]:
    """Return what manifests held while they had the same sections for all objectives."""
    if ref.cell.method in RECIPES:
        return []
    reached = graph.keys_of(*_student_settings(ref).values())
    return sorted(graph.keys_of("transport", "objective") - reached)


def _student_identity(ref: Ref) -> dict[str, Any]:
    if ref.cell.method in RECIPES:
        return _recipe_identity(ref)
    return {"pair": group_name(ref.pairs), "method": ref.cell.method, "seed": ref.cell.seed}


def _student_inputs(ref: Ref) -> list[Input]:
    settings, cell = ref.settings, ref.cell
    _refuse_without_student(ref)
    if cell.method in RECIPES:
        return _recipe_inputs(ref)
    if cell.joint and settings.bitext.files:
        raise UserError("bitext.files belong to one pair; a joint student needs bitext.sources")
    found = [bitext_input(settings, pair, f"{pair} " if cell.joint else "") for pair in ref.pairs]
    found.append(teacher_input(settings))
    found.append(initial_input(settings, cell.only(ref.pair), "initial student"))
    first = first_pass(ref)
    return found + ([student_input(first, "first pass", deep=True)] if first else [])


def _refuse_without_student(ref: Ref) -> None:
    if not METHODS[ref.cell.method].has_student:
        trained = [name for name, method in METHODS.items() if method.is_trained]
        raise UserError(
            f"method {ref.cell.method} trains no student; methods that do: {', '.join(trained)}"
        )


def _student_command(ref: Ref) -> Command:
    if ref.cell.method in RECIPES:
        return _recipe_command(ref)
    return Command("distill", tuple(ref.cell.options(*ref.pairs)))


def _make_student(workspace: Workspace, ref: Ref) -> object:
    if ref.cell.method in RECIPES:
        return _train(workspace, ref)
    from clir_cli.stages.distill import distill

    return distill(workspace, ref)


# ------------------------------------------------------------------ recipes of train


def _recipe_settings(ref: Ref) -> dict[str, str]:
    recipe = RECIPES[ref.cell.method]
    names = [*recipe.settings, *(["joint"] if ref.cell.joint else [])]
    if recipe.leaves == "teacher" and ref.settings.contrastive.collection:  # no bitext is read
        names = ["bitext.held_out" if name == "bitext" else name for name in names]
    return {name: name for name in names}


def _excluded_from_recipe(ref: Ref) -> Sequence[str]:
    return RECIPES[ref.cell.method].excluded if ref.cell.method in RECIPES else ()


def _recipe_identity(ref: Ref) -> dict[str, Any]:
    return {
        "recipe": ref.cell.method,
        "pairs": [str(pair) for pair in ref.pairs],
        "seed": ref.cell.seed,
    }


def _recipe_inputs(ref: Ref) -> list[Input]:
    recipe, settings = RECIPES[ref.cell.method], ref.settings
    found = [bitext_input(settings, pair, f"{pair} ") for pair in ref.pairs]
    if recipe.name == "code-switch":
        for pair in switching_pairs(settings, ref.pairs):
            found += _lexicon_inputs(settings, pair)
    if recipe.name == "augment":
        found.append(Input(_augment_digests))
    else:
        crossing = [pair.query for pair in ref.pairs] if recipe.name == "hybrid" else []
        found += training_inputs(settings, ["en", *crossing])
    if recipe.leaves == "teacher":
        return [*found, teacher_input(settings, "initial model")]
    initial = initial_input(settings, ref.cell.only(ref.pair), "initial model")
    return [*found, initial, teacher_input(settings)]


def _augment_digests(workspace: Workspace) -> Mapping[str, str]:
    names = workspace.settings.augment.files
    for name in names:
        if not Path(name).is_file():
            raise UserError(f"{name}: no such file (augment.files)")
    return {name: file_digest(Path(name)) for name in names}


def _lexicon_inputs(settings: Settings, pair: Pair) -> list[Input]:
    given, chosen = settings.dictionary, settings.contrastive.lexicon
    found = [dictionary_input(settings, pair, f"{pair} ")] if given.sources or given.files else []
    if chosen == "given" and not found:
        raise UserError(
            f"no dictionary for {pair}; name one with dictionary.sources or .files, or take "
            "contrastive.lexicon=dice"
        )
    if chosen == "dice":
        found.append(bitext_input(settings, pair, f"{pair} "))
    if chosen == "plans":
        found.append(_fingerprint(lexicon_plans(settings, pair), f"{pair} dictionary", True))
    return found


def _recipe_command(ref: Ref) -> Command:
    left_out = {"--method"} | (
        {"--lang"} if RECIPES[ref.cell.method].leaves == "teacher" else set()
    )
    options = [option for option in ref.cell.options(*ref.pairs) if option[0] not in left_out]
    return Command("train", (("--recipe", ref.cell.method), *options))


def _train(workspace: Workspace, ref: Ref) -> object:
    from clir_cli.stages.train import train

    return train(workspace, ref)


# ------------------------------------------------------------------ index and runs


def _make_index(workspace: Workspace, ref: Ref) -> object:
    from clir_cli.stages.index import index

    return index(workspace, ref)


def _run_identity(ref: Ref) -> dict[str, Any]:
    return {
        "pair": str(ref.pair),
        "method": ref.cell.method,
        "collection": collection_label(ref.settings.collection),
    }


def _run_settings(ref: Ref) -> dict[str, str]:
    method = METHODS[ref.cell.method]
    names = {"query_tokens": "teacher.query_tokens", "top_k": "search.top_k"}
    names |= {"layers": "student.layers"} if method.encoder == "initial" else {}
    names |= {"candidates": "search.candidates"} if method.scorer == "maxsim" else {}
    return names | ({"fusion": "fusion"} if method.scorer == "fusion" else {})


def _run_inputs(ref: Ref) -> list[Input]:
    method, settings = METHODS[ref.cell.method], ref.settings
    found = [queries_input(settings, ref.pair, method.query_language(ref.pair), method.name)]
    if method.scorer == "maxsim":
        found += [encoder_input(ref), _fingerprint(index_of(settings), "index")]
    if method.scorer == "bm25":
        found.append(documents_input(settings, (ref.pair,)))
    if method.scorer == "fusion":
        found += [_fingerprint(ref.other("run", cell=cell), cell.label, True)
                  for cell in fused_cells(ref)]  # fmt: skip
    if method.queries == "nmt":
        found.append(_fingerprint(translations_of(ref), "translations"))
    if method.queries == "dictionary":
        found.append(_query_dictionary(ref))
        if settings.dictionary.sources:  # by content: the files need only be there
            found.append(Input(lambda _: {}, ref.other("dictionary files", cell=Cell())))
    return found


def _query_dictionary(ref: Ref) -> Input:
    def digests(workspace: Workspace) -> Mapping[str, str]:
        words = query_dictionary(workspace, ref)
        return {"dictionary": digest([sorted(words.items()), ref.settings.dictionary.translations])}

    induced = ref.settings.dictionary.induced
    return Input(digests, dictionary_of(ref) if induced else None, ("dictionary",))


def _search_command(ref: Ref) -> Command:
    options = (*ref.cell.options(*ref.pairs), *collection_options(ref.settings))
    return Command("search", options)


def _search(workspace: Workspace, ref: Ref) -> object:
    from clir_cli.stages.search import search

    return search(workspace, ref)


def _fingerprint(ref: Ref, name: str, current: bool = False) -> Input:
    """Return an artifact as an input that is known by its fingerprint; ``current``: it is there."""
    resolved = graph.require_current if current else graph.resolve
    return Input(lambda workspace: {name: resolved(workspace, ref).fingerprint}, ref)


# ------------------------------------------------------------------ dictionaries, translations


def _induce(workspace: Workspace, ref: Ref) -> object:
    from clir_cli.stages.dictionary import dictionary

    return dictionary(workspace, ref)


def _dictionary_inputs(ref: Ref) -> list[Input]:
    student = student_of(ref.settings, ref.pair, ref.cell)
    bitext, teacher = bitext_input(ref.settings, ref.pair), teacher_input(ref.settings)
    return [student_input(student, "student"), bitext, teacher]


def _translate(workspace: Workspace, ref: Ref) -> object:
    from clir_cli.stages.support.translations import translations

    return translations(workspace, ref)


def _translations_inputs(ref: Ref) -> list[Input]:
    settings = ref.settings
    name = settings.nmt.model
    if not name:
        raise UserError(
            "method nmt needs a translation model; name it with --set nmt.model=FOLDER, or by its "
            "name on the hub (NLLB-200, M2M-100, mBART-50, MADLAD-400 and OPUS-MT are known)"
        )
    model = Input(
        lambda workspace: {"model": models.model_digest(fetched_folder(workspace, name))},
        model_ref(settings, name),
        ("nmt.model",),
    )
    return [queries_input(settings, ref.pair, ref.pair.query, "nmt"), model]


# ------------------------------------------------------------------ all of them

_FILES = partial(
    ArtifactSpec,
    path=lambda _: None,
    inputs=lambda _: (),
    command=_download_command,
    make=_fetch,
    shown=_downloaded,
)
_EMBEDDINGS = partial(
    ArtifactSpec,
    inputs=lambda ref: [teacher_input(ref.settings)],
    command=lambda ref: Command("distill", tuple(ref.cell.options(*ref.pairs))),
    make=lambda _, __: None,  # made by the stage that has read the texts
)

graph.SPECS.update(
    {
        "bitext": _FILES(kind="bitext"),
        "dictionary files": _FILES(kind="dictionary files"),
        "collection": _FILES(kind="collection"),
        "training collection": _FILES(kind="training collection"),
        "model": ArtifactSpec(
            kind="model",
            path=lambda ref: models.model_folder(ref.name, Path()),
            identity=_model_identity,
            inputs=lambda ref: [_model_input(ref)],
            command=_download_command,
            make=_fetch,
            shown=_downloaded,
        ),
        "teacher": ArtifactSpec(
            kind="teacher",
            path=paths.trained_folder,
            identity=_recipe_identity,
            settings=_recipe_settings,
            excluded=_excluded_from_recipe,
            inputs=_recipe_inputs,
            command=_recipe_command,
            make=_train,
        ),
        "initial": ArtifactSpec(
            kind="initial",
            path=paths.trained_folder,
            identity=_recipe_identity,
            settings=_recipe_settings,
            excluded=_excluded_from_recipe,
            inputs=_recipe_inputs,
            command=_recipe_command,
            make=_train,
        ),
        "student": ArtifactSpec(
            kind="student",
            path=paths.student_folder,
            identity=_student_identity,
            settings=_student_settings,
            unreached=_unreached_by_student,
            excluded=_excluded_from_recipe,
            inputs=_student_inputs,
            command=_student_command,
            make=_make_student,
            named=True,
        ),
        "teacher embeddings": _EMBEDDINGS(
            kind="teacher-embeddings",
            path=paths.embeddings_folder,
            settings=lambda _: {"query_tokens": "teacher.query_tokens"},
        ),
        "document embeddings": _EMBEDDINGS(
            kind="document-embeddings",
            path=lambda ref: paths.root(ref) / "documents" / ref.name,
            settings=lambda _: {"document_tokens": "teacher.document_tokens"},
        ),
        "dictionary": ArtifactSpec(
            kind="dictionary",
            path=lambda ref: paths.cell_folder(ref) / "dictionary",
            identity=lambda ref: {"pair": str(ref.pair)},
            settings=lambda _: {
                "bitext": "bitext",
                "transport": "transport",
                "query_tokens": "teacher.query_tokens",
            },
            inputs=_dictionary_inputs,
            command=lambda ref: Command("dictionary", tuple(ref.cell.options(*ref.pairs))),
            make=_induce,
            shown=lambda _: ("dictionary",),
        ),
        "index": ArtifactSpec(
            kind="index",
            path=paths.index_folder,
            identity=lambda ref: {"collection": collection_label(ref.settings.collection)},
            settings=lambda _: {
                "document_tokens": "teacher.document_tokens",
                **{
                    key: f"index.{key}"
                    for key in ("dtype", "shard_documents", "precision", "format", "lists")
                },
            },
            inputs=lambda ref: [documents_input(ref.settings, ()), teacher_input(ref.settings)],
            command=lambda ref: Command("index", tuple(collection_options(ref.settings))),
            make=_make_index,
            mend="--repair",
        ),
        "translations": ArtifactSpec(
            kind="translations",
            path=paths.translations_folder,
            identity=lambda ref: {"pair": str(ref.pair)},
            settings=lambda _: {"beams": "nmt.beams", "max_tokens": "nmt.max_tokens"},
            inputs=_translations_inputs,
            command=_search_command,
            make=_translate,
        ),
        "run": ArtifactSpec(
            kind="run",
            path=paths.run_folder,
            identity=_run_identity,
            settings=_run_settings,
            inputs=_run_inputs,
            command=_search_command,
            make=_search,
        ),
    }
)

"""The artifact graph, declared: one ``ArtifactSpec`` for each kind of artifact.

Fingerprints, messages, commands, the order of ``reproduce`` and what a setting reaches follow from
these declarations (``artifacts/graph.py``). Nothing here needs torch, so that a stage that finds
nothing to do ends at once; ``_stage`` imports what makes an artifact when it is called.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell, group_name
from clir_cli.artifacts.command import Command
from clir_cli.artifacts.spec import ArtifactSpec, Input, Ref
from clir_cli.corpus import catalogue
from clir_cli.corpus.collections import IRDS
from clir_cli.corpus.own_files import require_own_files_of_each
from clir_cli.errors import UserError
from clir_cli.files import digest
from clir_cli.retrieval.models import model_entry, model_folder
from clir_cli.stages.support import (
    imported,
    lexicons,
    paths,
    recipe_inputs,
    sources,
    used_models,
)
from clir_cli.stages.support.methods import METHODS, fused_cells
from clir_cli.stages.support.recipes import RECIPES, trained_cell
from clir_cli.stages.support.workspace import Workspace

# What a download must repeat to fetch the same files and models.
DOWNLOADED = (
    "bitext.sources", "bitext.licence", "bitext.files", "dictionary.sources", "dictionary.licence",
    "dictionary.files", "teacher.model", "student.model", "nmt.model", "models",
    "contrastive.collection",
)  # fmt: skip
# The settings that say how long a sentence of bitext may be.
SENTENCES = {"query_tokens": "teacher.query_tokens", "sentence_tokens": "teacher.sentence_tokens"}
# The settings of an index that change its bytes.
INDEXED = (
    "dtype", "shard_documents", "precision", "format", "lists", "passage_tokens", "passage_overlap",
)  # fmt: skip


def _stage(name: str) -> Callable[[Workspace, Ref], object]:
    """Return a function below ``stages``; its module is imported when it is called."""
    module, _, function = name.rpartition(".")

    def make(workspace: Workspace, ref: Ref) -> object:
        return getattr(import_module(f"clir_cli.stages.{module}"), function)(workspace, ref)

    return make


def _cell_command(verb: str, ref: Ref) -> Command:
    return Command(verb, tuple(ref.cell.options(*ref.pairs)))


# ------------------------------------------------------------------ downloads


def _download_command(ref: Ref) -> Command:
    pairs = ",".join(map(str, ref.pairs)) or "all"
    if ref.kind == "training collection" and ref.name != "en":
        pairs = f"{ref.name}-en"
    collection = sources.collection_options(ref.settings)
    large = [name for name in sources.training_names(ref.settings) if name.startswith(IRDS)]
    if ref.kind == "training collection" and large:  # fetched as one that tests
        collection = [("--collection", large[0])]
    left_out = [("--set", f"{key}=[]") for key in _files_of_one_pair(ref)]
    return Command("download", (("--lang", pairs), *collection, *left_out))


def _files_of_one_pair(ref: Ref) -> list[str]:
    """Return the settings of own files that a download for all pairs would refuse.

    A model's download has no pair, and own files are not fetched, so that it does without them.
    """
    own = {
        "bitext.files": ref.settings.bitext.files,
        "dictionary.files": ref.settings.dictionary.files,
    }
    return [
        key
        for key, names in own.items()
        if not ref.pairs and any("{lang}" not in name for name in names)
    ]


def _downloaded(ref: Ref) -> list[str]:
    # Models that clir trains are not fetched, and need not be named.
    names = {
        "teacher.model": ref.settings.teacher.model,
        "student.model": ref.settings.student.model,
        "nmt.model": ref.settings.nmt.model,
    }
    space = ("student.rows", "student.space_model") if used_models.space_of(ref.settings) else ()
    trained = {
        key for key, name in names.items() if name == used_models.TRAINED or trained_cell(name)
    }
    left_out = {*trained, *_files_of_one_pair(ref)}
    return [key for key in (*DOWNLOADED, *space) if key not in left_out]


def _model_inputs(ref: Ref) -> list[Input]:
    pinned = {file.path: file.sha256 for file in model_entry(ref.name).files}
    return [Input(lambda _: pinned)]


def _model_identity(ref: Ref) -> dict[str, Any]:
    model = model_entry(ref.name)
    return {"name": ref.name, "repository": model.repository, "revision": model.revision}


# ------------------------------------------------------------------ distilled students


def _student_settings(ref: Ref) -> dict[str, str]:
    method = METHODS[ref.cell.method]
    names = ["teacher", "student", "bitext", "training", *method.objective]
    names += ["objective.anchor"] if method.learns else []
    names += ["transport"] if method.transports or ref.settings.student.rows == "plans" else []
    names += ["joint"] if ref.cell.joint else []
    return {name: name for name in names}


def _unreached_by_student(ref: Ref) -> list[str]:
    """Return what manifests held while they had the same sections for all objectives."""
    reached = graph.keys_of(*_student_settings(ref).values())
    return sorted(graph.keys_of("transport", "objective") - reached)


def _student_inputs(ref: Ref) -> list[Input]:
    settings, cell = ref.settings, ref.cell
    if not METHODS[cell.method].has_student:
        trained = [name for name, method in METHODS.items() if method.is_trained]
        raise UserError(
            f"method {cell.method} trains no student; methods that do: {', '.join(trained)}"
        )
    require_own_files_of_each(settings, ref.pairs)
    first, space = used_models.first_pass(ref), used_models.space_of(settings)
    return [
        *sources.bitext_inputs(settings, ref.pairs, named=bool(cell.joint)),
        used_models.teacher_of(settings).as_input("teacher"),
        used_models.initial_of(settings, cell.only(ref.pair)).as_input("initial student"),
        *([used_models.UsedModel(first).as_input("first pass")] if first else []),
        *([space.as_input("space model")] if space else []),
    ]  # fmt: skip


# ------------------------------------------------------------------ runs, dictionaries


def _run_settings(ref: Ref) -> dict[str, str]:
    method = METHODS[ref.cell.method]
    names = {"query_tokens": "teacher.query_tokens", "top_k": "search.top_k"}
    names |= {"own_lengths": "teacher.own_lengths"} if method.encoder == "teacher" else {}
    names |= {"layers": "student.layers"} if method.encoder == "initial" else {}
    names |= {"candidates": "search.candidates"} if method.scorer == "maxsim" else {}
    names |= {"bitext": "bitext"} if _is_centred_by_bitext(ref) else {}
    return names | ({"fusion": "fusion"} if method.scorer == "fusion" else {})


def _is_centred_by_bitext(ref: Ref) -> bool:
    """Return True if the bitext gives the mean token of a run's queries (zero-shot)."""
    return METHODS[ref.cell.method].encoder == "initial" and ref.settings.teacher.centre


def _run_inputs(ref: Ref) -> list[Input]:
    method, settings = METHODS[ref.cell.method], ref.settings
    language = method.query_language(ref.pair)
    inputs = [sources.queries_input(settings, ref.pair, language, method.name)]
    if method.scorer == "maxsim":
        inputs += [used_models.encoder_input(ref), graph.as_input(Ref("index", settings), "index")]
    if _is_centred_by_bitext(ref):
        inputs += sources.bitext_inputs(settings, ref.pairs)
    if method.scorer == "bm25":
        inputs.append(sources.documents_input(settings, (ref.pair,)))
    if method.scorer == "fusion":
        cells = fused_cells(settings.fusion.runs, ref.cell)
        inputs.insert(0, Input(partial(imported.require_known, cells)))
        for cell in cells:
            inputs.append(graph.as_input(ref.other("run", cell=cell), cell.label, current=True))
    if method.queries == "nmt":
        inputs.append(graph.as_input(lexicons.translations_of(ref), "translations"))
    if method.queries == "dictionary":
        inputs += [_query_dictionary(ref), *_dictionary_files(ref)]
    return inputs


def _dictionary_files(ref: Ref) -> list[Input]:
    """Return the files of the given dictionary, which need only be there."""
    if not catalogue.chosen("dictionaries", ref.settings.dictionary):
        return []
    return [Input(lambda _: {}, ref.other("dictionary files", cell=Cell()))]


def _query_dictionary(ref: Ref) -> Input:
    settings = ref.settings.dictionary

    def digests(workspace: Workspace) -> Mapping[str, str]:
        words = lexicons.query_dictionary(workspace, ref)
        return {"dictionary": digest([sorted(words.items()), settings.translations])}

    induced = lexicons.dictionary_of(ref) if settings.induced else None
    return Input(digests, induced, ("dictionary",))


def _search_command(ref: Ref) -> Command:
    return _cell_command("search", ref).adding(sources.collection_options(ref.settings))


def _dictionary_inputs(ref: Ref) -> list[Input]:
    student = used_models.student_of(ref.settings, ref.pair, ref.cell)
    return [
        used_models.UsedModel(student).as_input("student"),
        *sources.bitext_inputs(ref.settings, ref.pairs),
        used_models.teacher_of(ref.settings).as_input("teacher"),
        *_dictionary_files(ref),
    ]


def _translations_inputs(ref: Ref) -> list[Input]:
    model = used_models.translator_of(ref)
    queries = sources.queries_input(ref.settings, ref.pair, ref.pair.query, "nmt")
    return [queries, model.as_input("model")]


# ------------------------------------------------------------------ all of them

_DOWNLOAD = ArtifactSpec(
    path=lambda _: None,
    inputs=lambda _: (),
    command=_download_command,
    make=_stage("download.fetch_part"),
    shown=_downloaded,
)
_BY_RECIPE = ArtifactSpec(
    path=paths.trained_folder,
    identity=recipe_inputs.recipe_identity,
    settings=recipe_inputs.recipe_settings,
    excluded=lambda ref: RECIPES[ref.cell.method].excluded,
    inputs=recipe_inputs.recipe_inputs,
    command=recipe_inputs.recipe_command,
    make=_stage("train.train"),
)
_EMBEDDINGS = ArtifactSpec(
    path=paths.embeddings_folder,
    settings=lambda _: {**SENTENCES, "centre": "teacher.centre"},
    inputs=lambda ref: [used_models.teacher_of(ref.settings).as_input("teacher")],
    command=partial(_cell_command, "distill"),
    make=lambda _, __: None,  # made by the stage that has read the texts
)
_OF_BITEXT = ArtifactSpec(
    path=partial(paths.bitext_folder, "lexicons"),
    inputs=lambda _: (),
    command=partial(_cell_command, "distill"),
    make=lambda _, __: None,  # made by the stage that has read the bitext
)

graph.SPECS |= {
    "bitext": _DOWNLOAD,
    "dictionary files": _DOWNLOAD,
    "collection": _DOWNLOAD,
    "training collection": _DOWNLOAD,
    "model": replace(
        _DOWNLOAD,
        path=lambda ref: model_folder(ref.name, Path()),
        identity=_model_identity,
        inputs=_model_inputs,
    ),
    "teacher": _BY_RECIPE,
    "initial": _BY_RECIPE,
    "translator": replace(
        _BY_RECIPE,
        path=paths.translator_folder,
        make=_stage("translator.train_translator"),
        named=True,
    ),
    "student": ArtifactSpec(
        path=paths.student_folder,
        identity=lambda ref: {
            "pair": group_name(ref.pairs),
            "method": ref.cell.method,
            "seed": ref.cell.seed,
        },
        settings=_student_settings,
        unreached=_unreached_by_student,
        inputs=_student_inputs,
        command=partial(_cell_command, "distill"),
        make=_stage("distill.distill"),
        named=True,
    ),
    **{
        f"student {recipe.name}": replace(_BY_RECIPE, path=paths.student_folder, named=True)
        for recipe in RECIPES.values()
        if recipe.leaves == "student"
    },
    "teacher embeddings": _EMBEDDINGS,
    "document embeddings": replace(
        _EMBEDDINGS,
        path=lambda ref: paths.root(ref) / "documents" / ref.name,
        settings=lambda _: {
            "document_tokens": "teacher.document_tokens",
            "own_lengths": "teacher.own_lengths",
            "centre": "teacher.centre",
        },
    ),
    "teacher centres": replace(
        _EMBEDDINGS, path=lambda ref: paths.root(ref) / "centres", settings=lambda _: {}
    ),
    "lexicons": _OF_BITEXT,
    "token ids": replace(_OF_BITEXT, path=partial(paths.bitext_folder, "tokens")),
    "dictionary": ArtifactSpec(
        path=lambda ref: paths.cell_folder(ref) / "dictionary",
        identity=lambda ref: {"pair": str(ref.pair)},
        settings=lambda _: {
            "bitext": "bitext",
            "transport": "transport",
            **SENTENCES,
        },
        inputs=_dictionary_inputs,
        command=partial(_cell_command, "dictionary"),
        make=_stage("dictionary.dictionary"),
        shown=lambda _: ("dictionary",),
    ),
    "index": ArtifactSpec(
        path=lambda ref: paths.root(ref) / "index" / paths.collection(ref),
        identity=lambda ref: {"collection": paths.collection(ref)},
        settings=lambda _: {
            "document_tokens": "teacher.document_tokens",
            "own_lengths": "teacher.own_lengths",
            "centre": "teacher.centre",
            **{key: f"index.{key}" for key in INDEXED},
        },
        inputs=lambda ref: [
            sources.documents_input(ref.settings, ()),
            used_models.teacher_of(ref.settings).as_input("teacher"),
        ],
        command=lambda ref: Command("index", tuple(sources.collection_options(ref.settings))),
        make=_stage("index.index"),
        source=sources.own_folder,
        mend="--repair",
    ),
    "translations": ArtifactSpec(  # of no teacher
        path=lambda ref: Path(ref.suite, str(ref.pair), ref.cell.label, paths.collection(ref)),
        identity=lambda ref: {"pair": str(ref.pair)},
        settings=lambda _: {"beams": "nmt.beams", "max_tokens": "nmt.max_tokens"},
        inputs=_translations_inputs,
        command=_search_command,
        make=_stage("support.translations.translations"),
        source=sources.own_folder,
    ),
    "run": ArtifactSpec(
        path=lambda ref: paths.cell_folder(ref) / "runs" / paths.collection(ref),
        identity=lambda ref: {
            "pair": str(ref.pair),
            "method": ref.cell.method,
            "collection": paths.collection(ref),
        },
        settings=_run_settings,
        inputs=_run_inputs,
        command=_search_command,
        make=_stage("search.search"),
        shown=paths.shown,
        source=sources.own_folder,
    ),
    "run imported": imported.RUN,
}

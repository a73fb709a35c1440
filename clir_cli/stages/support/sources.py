"""The data that artifacts are made from, to read and as ``Input`` of ``stages/kinds.py``."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.command import Option
from clir_cli.artifacts.spec import Input, Ref
from clir_cli.corpus import bitext as corpus
from clir_cli.corpus import catalogue, dictionaries, overlap
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.collections import (
    IRDS,
    collection_label,
    collection_name,
    collection_names,
    is_directory,
    language_read,
    load_collection,
    required_files,
)
from clir_cli.corpus.dictionaries import Dictionary
from clir_cli.corpus.own_files import own_files
from clir_cli.corpus.records import POOLS, REVISION, Collection, Pair, Pool
from clir_cli.errors import MissingInput, UserError
from clir_cli.files import digest
from clir_cli.settings import Settings
from clir_cli.stages.support.methods import METHODS
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import suite_settings

if TYPE_CHECKING:
    from clir_cli.retrieval.bm25 import WordIndex


def collection_options(settings: Settings) -> list[Option]:
    """Return the option that names the collection, when it is not the suite's own."""
    if settings.collection == suite_settings(settings.suite).collection:
        return []
    return [("--collection", settings.collection)]


def own_folder(ref: Ref) -> str:
    """Return the folder of the user's that is searched, if it is one; its label is a name alone."""
    name = ref.settings.collection
    return str(Path(name).resolve()) if is_directory(name) else ""


# ------------------------------------------------------------------ bitext and dictionaries


def load_bitext(workspace: Workspace, pair: Pair) -> Bitext:
    """Read the bitext of a pair, or say which command fetches it."""
    collection = _checked_collection(workspace.settings, pair)
    texts = _texts(workspace, collection) if collection else frozenset()
    with graph.making(workspace, workspace.ref("bitext", (pair,))):
        return corpus.load_bitext(workspace.settings.bitext, pair, workspace.downloads, texts)


def bitext_inputs(settings: Settings, pairs: Sequence[Pair], *, named: bool = False) -> list[Input]:
    """Return the bitext of pairs as inputs; ``named`` if the name of each has the pair."""
    inputs = []
    for pair in pairs:
        before, collection = f"{pair} " if named else "", _checked_collection(settings, pair)
        bitext = Ref("bitext", settings, (pair,))
        inputs.append(Input(partial(_bitext_digests, pair, before), bitext))
        if collection is not None:
            inputs.append(Input(partial(_text_digests, collection, before), collection))
    return inputs


def _bitext_digests(pair: Pair, before: str, workspace: Workspace) -> Mapping[str, str]:
    files = corpus.inputs(workspace.settings.bitext, pair, workspace.downloads)
    return _prefixed(files, before)


def _text_digests(collection: Ref, before: str, workspace: Workspace) -> Mapping[str, str]:
    """Return the digest of the texts that may not train; of the user's files, if any equals one."""
    texts, bitext = _texts(workspace, collection), collection.settings.bitext
    # Of files alone there are older students.
    own = () if bitext.sources else tuple(own_files(bitext, collection.pair))
    key = ("own bitext", own, collection.pair)
    if own and key not in workspace.cache:
        workspace.cache[key] = overlap.any_equal(own, texts, collection.pair.query)
    if own and not workspace.cache[key]:
        return {}
    return {f"{before}test texts": digest(sorted(texts))}


def _checked_collection(settings: Settings, pair: Pair) -> Ref | None:
    """Return the suite's collection if none of its texts may train a pair."""
    return _test_collection(settings, overlap.checked_collection(settings, pair), (pair,))


def _test_collection(settings: Settings, name: str, pairs: tuple[Pair, ...]) -> Ref | None:
    own = settings.model_copy(update={"collection": name})
    return Ref("collection", own, pairs) if name else None


def _texts(workspace: Workspace, collection: Ref) -> frozenset[str]:
    name = collection.settings.collection
    language = collection.pair.query if collection.pairs else "en"
    key = ("test texts", name, language)
    if key not in workspace.cache:
        with graph.making(workspace, collection):
            texts = overlap.collection_texts(name, language, workspace.downloads)
        workspace.cache[key] = texts
    return workspace.cache[key]


def load_given_dictionary(workspace: Workspace, pair: Pair) -> Dictionary:
    """Read the given dictionary of a pair: empty where none is named."""
    settings = workspace.settings.dictionary
    if not dictionaries.is_given(settings):
        return {}
    with graph.making(workspace, workspace.ref("dictionary files", (pair,))):
        return dictionaries.load_dictionary(settings, pair, workspace.downloads)


def dictionary_input(settings: Settings, pair: Pair, before: str = "") -> Input:
    """Return the files of a pair's given dictionary as an input."""

    def digests(workspace: Workspace) -> Mapping[str, str]:
        files = dictionaries.inputs(workspace.settings.dictionary, pair, workspace.downloads)
        return _prefixed(files, before)

    return Input(digests, Ref("dictionary files", settings, (pair,)))


def _prefixed(digests: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {f"{prefix}{name}": value for name, value in digests.items()}


# ------------------------------------------------------------------ the collection to search


def read_collection(workspace: Workspace, language: str) -> Collection:
    """Read the collection to search, with the queries of a language; caches the last ones.

    One that lacks them is read with its English ones, if it has such.

    Raises:
        MissingInput: It has not been fetched; the message has the command for it.
    """
    name, cache = workspace.settings.collection, workspace.cache
    language = language_read(name, language)
    pairs = () if language == "en" else (Pair(language, "en"),)
    key = ("collection", name, language)
    cached = [other for other in cache if other[0] == "collection"]
    if language == "en":  # the collection with queries of any language has the English ones
        key = next((other for other in reversed(cached) if other[1] == name), key)
    if key not in cache:
        for other in cached[:-3]:
            del cache[other]
        with graph.making(workspace, workspace.ref("collection", pairs)):
            cache[key] = load_collection(name, language, workspace.downloads)
    return cache[key]


def word_index(workspace: Workspace, collection: Collection, pool: Pool | None) -> "WordIndex":
    """Return the words of a collection's documents, or of a pool of them; caches the last ones."""
    from clir_cli.retrieval.bm25 import WordIndex

    cache = workspace.cache
    key = ("words", digest(_digests_of(collection, "documents")), pool.title if pool else "")
    if key not in cache:
        for other in [other for other in cache if other[0] == "words"][:-1]:
            del cache[other]
        texts = (doc.full_text for doc in collection.documents if not pool or pool.has(doc.id))
        cache[key] = WordIndex.of(texts)
    return cast("WordIndex", cache[key])


def documents_input(settings: Settings, pairs: tuple[Pair, ...]) -> Input:
    """Return the documents of the collection to search as an input."""
    language = pairs[0].query if pairs else "en"

    def digests(workspace: Workspace) -> Mapping[str, str]:
        return _digests_of(read_collection(workspace, language), "documents")

    return Input(digests, Ref("collection", settings, pairs), ("collection",))


def _digests_of(collection: Collection, part: str, name: str = "") -> dict[str, str]:
    """Return the digest of a part, called ``name``, and the revision of a data set of the hub."""
    revision = {key: value for key, value in collection.digests.items() if key.startswith(REVISION)}
    return {name or part: collection.digests[part], **revision}


def queries_input(settings: Settings, pair: Pair, language: str, method: str) -> Input:
    """Return the queries that a method starts from as an input."""

    def digests(workspace: Workspace) -> Mapping[str, str]:
        collection = read_collection(workspace, pair.query)
        queries_in(collection, language, method)
        pools = {key: value for key, value in collection.digests.items() if key == POOLS}
        return _digests_of(collection, f"queries.{language}", "queries") | pools

    return Input(digests, Ref("collection", settings, (pair,)), ("collection",))


def queries_in(collection: Collection, language: str, method: str) -> dict[str, str]:
    """Return the queries of a collection in a language, by id.

    Raises:
        MissingInput: The collection has none.
    """
    if language not in collection.queries:
        raise MissingInput(
            f"collection {collection.name} has no queries in {language!r} for method "
            f"{method}; add queries.{language}.jsonl or omit the method",
            has_remedy=True,
        )
    return dict(collection.queries[language])


def answerable(workspace: Workspace, pair: Pair, cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells whose queries the collection has; report those that are left out.

    Raises:
        UserError: It has none for any of them.
    """
    available = []
    missing: dict[str, str] = {}
    for cell in cells:
        language = METHODS[cell.method].query_language(pair)
        if language in read_collection(workspace, pair.query).queries:
            available.append(cell)
        else:
            missing[cell.label] = language
    if cells and not available:
        codes = " and ".join(map(repr, dict.fromkeys(missing.values())))
        raise UserError(
            f"collection {read_collection(workspace, pair.query).name} has no queries in {codes}; "
            "ask it with --query TEXT, or add queries.jsonl (_id, text)"
        )
    for label, language in missing.items():
        workspace.talk.say(f"{label} skipped: no queries in {language!r}")
    return available


# ------------------------------------------------------------------ collections to train on


def training_names(settings: Settings, language: str = "en") -> list[str]:
    """Return the collections to train on that have queries of a language: English, they must."""
    names = collection_names(settings.contrastive.collection)
    return [name for name in names if language == "en" or _has(name, language)]


def _has(name: str, language: str) -> bool:
    if is_directory(name):
        return any(Path(name).glob(f"queries.{language}.*"))
    known = catalogue.sources("collections")
    return name in known and language in known[name].languages


def training_collections(workspace: Workspace, language: str) -> list[tuple[Collection, int]]:
    """Return the collections to train on with queries of a language, without test texts.

    With each is the number of its queries and documents that were dropped for one.

    Raises:
        MissingInput: One has not been fetched.
        UserError: One is the collection to search, two have one name, or there is none of a name.
    """
    _require_names(workspace)
    names = training_names(workspace.settings, language)
    test = _checked_training(workspace.settings, language)
    texts = _texts(workspace, test) if names and test else frozenset()
    read = [_read_training(workspace, name, language) for name in names]
    return [overlap.without_texts(collection, texts) for collection in read]


def _require_names(workspace: Workspace) -> None:
    """Refuse collections to train on, before any is read; raises as ``training_collections``."""
    settings, labels = workspace.settings, set[str]()
    for name in training_names(settings):
        required_files(name, "en", workspace.downloads)  # refuses an unknown name
        if collection_name(name) == collection_name(settings.collection):
            raise UserError(
                f"contrastive.collection={name} is the collection that tests; what trains must "
                "not test, so choose another for one of them"
            )
        if (label := collection_label(name)) in labels:
            raise UserError(f"contrastive.collection: two are called {label}; rename a folder")
        labels.add(label)


def _read_training(workspace: Workspace, name: str, language: str) -> Collection:
    with graph.making(workspace, workspace.ref("training collection", name=language)):
        return load_collection(name, language, workspace.downloads)


def _checked_training(settings: Settings, language: str) -> Ref | None:
    """Return the suite's collection if none of its texts may be in what trains."""
    name = overlap.checked_by(settings, training_names(settings))
    return _test_collection(settings, name, () if language == "en" else (Pair(language, "en"),))


def training_inputs(settings: Settings, languages: Sequence[str]) -> list[Input]:
    """Return the collections to train on as inputs, once for each language that one has."""
    names = training_names(settings)
    # Pinned by ir_datasets; millions of documents are not read to plan.
    pinned = ",".join(name for name in names if name.startswith(IRDS))
    fetched = Ref("training collection", settings, name="en")
    inputs = [Input(lambda _: {"training collection": pinned}, fetched)] if pinned else []

    def digests(language: str, workspace: Workspace) -> Mapping[str, str]:
        _require_names(workspace)
        found: dict[str, str] = {}
        for name in training_names(settings, language):
            if not name.startswith(IRDS):
                collection = _read_training(workspace, name, language)
                found |= _prefixed(collection.digests, f"{collection.name} {language}, ")
        return found

    for language in languages:
        if any(not name.startswith(IRDS) for name in training_names(settings, language)):
            ref = Ref("training collection", settings, name=language)
            inputs.append(Input(partial(digests, language), ref))
        if test := _checked_training(settings, language):
            inputs.append(Input(partial(_texts_digest, test, language), test))
    return inputs


def _texts_digest(test: Ref, language: str, workspace: Workspace) -> Mapping[str, str]:
    return {f"{language} texts that test": digest(sorted(_texts(workspace, test)))}

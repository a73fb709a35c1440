"""The layout of a hub data set: which files are corpus, queries and qrels, and of which language.

The card (README.md) names configs, their splits and files; where it does not, folders and names of
files say the same. A config is named ``corpus``, ``queries`` or ``qrels``, alone or with a subset
before or behind it (``sw-corpus``, ``queries-fr``, ``eng-deu-qrels``).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

from clir_cli.corpus.catalogue import languages, sources
from clir_cli.corpus.formats.columns import ENGLISH, language_names
from clir_cli.corpus.formats.opening import SUFFIXES
from clir_cli.errors import UserError, nearest
from clir_cli.suites import once

KINDS = (".parquet", ".jsonl", ".json", ".tsv", ".csv")
# The data sets of BEIR have their qrels in a repository beside them, NAME-qrels.
BESIDE = "-qrels"
ROLES = {
    "corpus": "corpus", "documents": "corpus", "docs": "corpus", "queries": "queries",
    "query": "queries", "topics": "queries", "qrels": "qrels", "default": "qrels",
}  # fmt: skip
_WORD = "|".join(ROLES)
_BEHIND = re.compile(rf"(?:(?P<subset>.+)[-_./])?(?P<word>{_WORD})", re.IGNORECASE)
_BEFORE = re.compile(rf"(?P<word>{_WORD})[-_./](?P<subset>.+)", re.IGNORECASE)
_PART = re.compile(r"-\d{5}-of-(\d{5})$")
_CODE = re.compile(r"([a-z]{2,3})([-_][A-Z][a-z]{3})?$")
# The split that tests, where a data set has several; the name of the collection may say another.
TESTS = ("test", "dev", "validation", "val", "train")


@dataclass(frozen=True)
class Table:
    """The files of one config and split."""

    role: str  # corpus, queries or qrels
    subset: str  # what the name of the config has besides the role, such as a language
    split: str
    files: tuple[str, ...]
    word: str = ""  # that names the role
    beside: bool = False  # they are in the repository NAME-qrels

    @property
    def labels(self) -> tuple[str, str]:
        """Return what can be named to choose this table."""
        return self.subset, self.split


@dataclass(frozen=True)
class Chosen:
    """What a collection is read from: documents, queries by language, and qrels if there are."""

    corpus: Table
    queries: Mapping[str, Table]
    qrels: Table | None
    subsets: tuple[str, ...]  # those of queries, for messages


def is_readable(path: str) -> bool:
    """Return True if a file may hold records: parquet, JSON lines or a table, also compressed."""
    return _plain(path).suffix.lower() in KINDS


def tables_of(paths: Sequence[str], card: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a repository by its card; what that lacks, by the paths."""
    known = sorted(filter(is_readable, paths))
    tables = list(_tables(_configured(known, card.get("configs"))))
    missing = set(ROLES.values()) - {table.role for table in tables}
    if missing:
        taken = {path for table in tables for path in table.files}
        by_path = _tables(_by_path(path for path in known if path not in taken))
        tables += [table for table in by_path if table.role in missing]
    # ``default`` is the qrels where nothing else is.
    better = {table.subset for table in tables if table.role == "qrels" and table.word == "qrels"}
    return [
        table
        for table in tables
        if table.role != "qrels" or table.word == "qrels" or table.subset not in better
    ]


def choose(
    name: str, tables: Sequence[Table], words: Sequence[str], language: str, spoken: Sequence[str]
) -> Chosen:
    """Return the tables that a collection has for a language of queries.

    Args:
        name: The collection, for messages.
        tables: What ``tables_of`` returns.
        words: Subsets and splits that the user chose: each narrows the tables that have it.
        language: The query language; for ``en`` only what is known to be English is taken.
        spoken: The languages of the data set by its card.

    Raises:
        UserError: There is no corpus, or several and none is chosen; a subset or split is unknown;
            a part of a file is missing.
    """
    labels = dict.fromkeys(label for table in tables for label in table.labels if label)
    if not any(table.role == "corpus" for table in tables):
        there = "; ".join(f"{table.role}: {table.files[0]}" for table in tables[:3])
        raise UserError(
            f"{name}: no corpus, that is no config, folder or file of that name ({there or 'none'})"
        )
    for word in words:
        if word not in labels:
            raise UserError(f"{name}: no subset or split {word!r}; {nearest(word, labels)}")
    corpora, queries, qrels = (
        _narrowed([table for table in tables if table.role == role], words)
        for role in ("corpus", "queries", "qrels")
    )
    documents = _documents(name, corpora)
    apart = {table.subset for table in corpora} - {documents}  # with documents of their own
    joined = [table for table in queries if table.subset not in apart]
    asked: dict[str, tuple[list[Table], list[Table]]] = {}
    for code in dict.fromkeys((language, "en")):
        if found := _queries_in(code, joined, documents, spoken):
            asked[code] = found, _judging(qrels, found[0].subset, documents)
    judged = next(iter(asked.values()))[1] if asked else []
    judging = _of_one_split(name, judged, "") if judged else None
    split = judging.split if judging else ""
    chosen = Chosen(
        _of_one_split(name, [table for table in corpora if table.subset == documents], split),
        # English queries that have judgments of their own are no translations.
        {code: _of_one_split(name, own, split) for code, (own, j) in asked.items() if j == judged},
        judging,
        tuple(dict.fromkeys(table.subset for table in queries if table.subset)),
    )
    for table in (chosen.corpus, *chosen.queries.values(), *([judging] if judging else [])):
        _require_parts(name, table)
    return chosen


# ------------------------------------------------------------------ what is there


def _configured(paths: Sequence[str], configs: Any) -> Iterator[tuple[str, str, list[str]]]:
    """Yield config, split and files as the card has them; what is not laid out as one is no config.

    Patterns are those of ``datasets``: ``*`` is within a folder, ``**`` is not.
    """
    for config in configs if isinstance(configs, list) else ():
        if not isinstance(config, dict):
            continue
        files = config.get("data_files") or f"{config.get('data_dir')}/**"
        for row in files if isinstance(files, list) else [files]:
            split = row if isinstance(row, dict) else {"path": row}
            patterns = split.get("path")
            texts = patterns if isinstance(patterns, list) else [patterns]
            found = [path for path in paths if any(_matches(path, str(text)) for text in texts)]
            if found:
                name = str(config.get("config_name", "default"))
                yield name, str(split.get("split") or ""), found


def _matches(path: str, pattern: str) -> bool:
    pattern = pattern.removeprefix("./")
    depth = "**" in pattern or path.count("/") == pattern.count("/")
    return depth and fnmatch(path, pattern.replace("**/", "*").replace("**", "*"))


def _by_path(paths: Iterable[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield config, split and files by folders and names: ``CONFIG/SPLIT-00000-of-00001.parquet``.

    Also ``CONFIG.jsonl``, ``data/...``, and ``CONFIG/SPLIT/0000.parquet``, as the hub converts.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        folders = list(PurePosixPath(path).parts[:-1])
        folders = folders[1:] if folders[:1] == ["data"] else folders
        stem = _PART.sub("", _plain(path).stem)
        word, _ = (_role(folders[-1]) if folders else None) or ("default", "")
        if folders and (word != "default" or not _role(stem)):
            if stem.isdecimal() and len(folders) > 1:
                stem = folders.pop()
            config, split = "-".join(folders), stem
        else:
            config, split = ("-".join([*folders, stem]), "") if _role(stem) else ("default", stem)
        if _role(config) or not path.endswith(".json"):
            found.setdefault((config, split), []).append(path)
    yield from ((config, split, files) for (config, split), files in found.items())


def _tables(found: Iterator[tuple[str, str, list[str]]]) -> Iterator[Table]:
    bare = []
    subsets = set()
    for config, split, files in found:
        if role := _role(config):
            word, subset = role
            subsets.add(subset)
            # A split that has the name of its config is none.
            split = "" if split.lower() in ROLES else split
            yield Table(ROLES[word], subset, split, tuple(files), word)
        else:
            bare.append((config, split, files))
    for config, split, files in bare:  # as in MMTEB's MIRACL: corpus-sw, queries-sw, sw
        if config in subsets:
            yield Table("qrels", config, split, tuple(files))


def _role(config: str) -> tuple[str, str] | None:
    """Return the word for the role in the name of a config, and the rest; None if there is none."""
    found = _BEHIND.fullmatch(config) or _BEFORE.fullmatch(config)
    return (found["word"].lower(), found["subset"] or "") if found else None


def _plain(path: str) -> PurePosixPath:
    plain = PurePosixPath(path)
    return plain.with_suffix("") if plain.suffix.lower() in SUFFIXES else plain


# ------------------------------------------------------------------ what is chosen


def _narrowed(tables: list[Table], words: Sequence[str]) -> list[Table]:
    for word in words:
        tables = [table for table in tables if word in table.labels] or tables
    return tables


def _documents(name: str, corpora: Sequence[Table]) -> str:
    """Return the subset of the documents: the only one, the one without a name, or English."""
    subsets = list(dict.fromkeys(table.subset for table in corpora))
    english = [subset for subset in subsets if _spoken_in(subset) == ["en"]]
    for choice in (subsets, [subset for subset in subsets if not subset], english):
        if len(choice) == 1:
            return choice[0]
    raise UserError(f"{name}: several corpora ({_listed(subsets)}); add one as /{subsets[0]}")


def _queries_in(
    language: str, tables: Sequence[Table], documents: str, spoken: Sequence[str]
) -> list[Table]:
    """Return the queries of a language: the subset that names it last, or one that names none.

    The latter are in the language of the card if that has one, else in the pair's.
    """
    subsets = list(dict.fromkeys(table.subset for table in tables))
    named = [subset for subset in subsets if _spoken_in(subset)[-1:] == [language]]
    # Among languages a code that is not known is a language, too; elsewhere it is a name.
    others = any(_spoken_in(subset) for subset in subsets)
    codes = {subset: found[1] for subset in subsets if others and (found := _CODE.match(subset))}
    named = named or [subset for subset, code in codes.items() if code == language]
    known = [code for text in spoken for code in _spoken_in(text)]
    is_one = len(spoken) == 1 and known  # and it is known which
    if not named and (known == [language] if is_one else language != "en"):
        named = [each for each in subsets if not _spoken_in(each) and each not in codes]
    for choice in ([s for s in named if s == documents], [s for s in named if not s], named):
        if choice:
            return [table for table in tables if table.subset == choice[0]]
    return []


def _judging(qrels: Sequence[Table], queries: str, documents: str) -> list[Table]:
    """Return the qrels of the subset of the queries, else of the documents, else those of all."""
    for subset in (queries, documents, ""):
        if found := [table for table in qrels if table.subset == subset]:
            return found
    return []


def _of_one_split(name: str, tables: Sequence[Table], split: str) -> Table:
    """Return the table of a split, or of the first of ``TESTS``, or the only one."""
    splits = [table.split for table in tables]
    for wanted in (split, *TESTS, *(splits if len(tables) == 1 else [])):
        if wanted in splits:
            return tables[splits.index(wanted)]
    what = f"{tables[0].role} has several splits ({_listed(splits)})"
    raise UserError(f"{name}: {what}; add one as /{splits[0]}")


def _require_parts(name: str, table: Table) -> None:
    """Refuse a file of several parts of which some are missing, as in an incomplete cache."""
    for path in table.files:
        part = _PART.search(_plain(path).stem)
        stem = _PART.sub("", _plain(path).stem)
        same = [each for each in table.files if _PART.sub("", _plain(each).stem) == stem]
        if part and len(same) != int(part[1]):
            here = f"{len(same)} of {int(part[1])} parts of {path} are there"
            raise UserError(f"{name}: {here}; fetch the others, too")


def _spoken_in(subset: str) -> list[str]:
    """Return the languages that the name of a subset has, in order: their codes here."""
    parts = re.split(r"[\W_]+", subset.lower())
    return [known for part in parts if (known := _codes().get(part))]


@once
def _codes() -> dict[str, str]:
    """Return languages by their codes and names; those not in the catalogue as FLORES has them."""
    flores = sources("collections")["flores"].codes
    codes = {code.split("_")[0]: name for name, code in flores.items()}
    codes |= {name: name for name in codes.values()}
    codes |= {text: name for name in languages() for text in language_names(name)}
    return codes | dict.fromkeys(ENGLISH, "en")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown

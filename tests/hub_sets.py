"""Small data sets of the hub in published layouts, in a cache as huggingface_hub writes it."""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Rows = Sequence[Mapping[str, object]]

DOCUMENTS = [
    {"_id": "d1", "title": "Wells", "text": "Dig deep for water."},
    {"_id": "d2", "title": "", "text": "Maize is sold at the market."},
    {"_id": "d3", "title": "Rain", "text": ""},
]
QUERIES = [{"_id": "q1", "text": "deep well"}, {"_id": "q2", "text": "price of maize"}]
SWAHILI = [{"_id": "q1", "text": "kisima kirefu"}, {"_id": "q2", "text": "bei ya mahindi"}]
QRELS = [
    {"query-id": "q1", "corpus-id": "d1", "score": 2.0},
    {"query-id": "q1", "corpus-id": "d3", "score": 0.0},
    {"query-id": "q2", "corpus-id": "d2", "score": 1.0},
]
EXPECTED = {"q1": {"d1": 2, "d3": 0}, "q2": {"d2": 1}}


def in_parquet(rows: Rows) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist([dict(row) for row in rows]), sink)
    return sink.getvalue().to_pybytes()


def in_lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def in_tsv(rows: Rows) -> bytes:
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    return "".join("\t".join(row) + "\n" for row in cells).encode()


def card(configs: Mapping[str, Mapping[str, str]], head: str = "") -> bytes:
    """Return a README as the hub has it: configs with the pattern of files of each split."""
    lines = ["---", *head.splitlines(), "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, path in splits.items():
            lines += [f"  - split: {split}", f"    path: {path}"]
    return "\n".join([*lines, "---", "# A data set", ""]).encode()


def add_snapshot(
    cache: Path,
    repository: str,
    files: Mapping[str, bytes],
    commit: str = COMMIT,
    ref: str = "main",
) -> Path:
    """Write a snapshot into a cache as huggingface_hub lays it out; return its folder."""
    home = cache / f"datasets--{repository.replace('/', '--')}"
    folder = home / "snapshots" / commit
    (home / "blobs").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        blob = home / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        up = "../" * (2 + name.count("/"))
        place.symlink_to(f"{up}blobs/{blob.name}")
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs" / ref).write_text(commit)
    return folder


def scifact() -> dict[str, bytes]:
    """Return the files of mteb/scifact: JSON lines at the root, qrels by split, floats."""
    configs = {
        "default": {"train": "qrels/train.jsonl", "test": "qrels/test.jsonl"},
        "corpus": {"corpus": "corpus.jsonl"},
        "queries": {"queries": "queries.jsonl"},
    }
    train = [{"query-id": "q0", "corpus-id": "d1", "score": 1.0}]
    others = [{"_id": "q0", "text": "of train"}]
    return {
        ".gitattributes": b"*.parquet filter=lfs\n",
        "README.md": card(configs, "language:\n- en\nlicense: cc-by-4.0"),
        "corpus.jsonl": in_lines(DOCUMENTS),
        "queries.jsonl": in_lines([*others, *QUERIES]),
        "qrels/train.jsonl": in_lines(train),
        "qrels/test.jsonl": in_lines(QRELS),
        "qrels/test.tsv": in_tsv(QRELS),
    }


def beir() -> dict[str, bytes]:
    """Return the files of BeIR/scifact: parquet, without qrels; the corpus in two parts."""
    configs = {"corpus": {"corpus": "corpus/corpus-*"}, "queries": {"queries": "queries/queries-*"}}
    return {
        "README.md": card(configs, "language:\n- en\nlicense:\n- cc-by-sa-4.0"),
        "corpus/corpus-00000-of-00002.parquet": in_parquet(DOCUMENTS[:1]),
        "corpus/corpus-00001-of-00002.parquet": in_parquet(DOCUMENTS[1:]),
        "queries/queries-00000-of-00001.parquet": in_parquet(QUERIES),
    }


def beir_qrels() -> dict[str, bytes]:
    """Return the files of BeIR/scifact-qrels: a table for each split at the root."""
    whole = [{**row, "score": int(row["score"])} for row in QRELS]
    return {"README.md": b"# no head\n", "train.tsv": in_tsv(whole[:1]), "test.tsv": in_tsv(whole)}


def by_language(
    languages: Mapping[str, Rows], split: str = "dev", names: str = "{language}-{role}"
) -> dict[str, bytes]:
    """Return the files of mteb/MIRACLRetrieval: a config for each language and role, one split.

    The documents of each language have ids of their own.
    """
    files, configs = {}, {}
    for language, queries in languages.items():
        rows = {
            "corpus": [{**row, "_id": f"{language}-{row['_id']}"} for row in DOCUMENTS],
            "queries": queries,
            "qrels": [{**row, "corpus-id": f"{language}-{row['corpus-id']}"} for row in QRELS],
        }
        for role, content in rows.items():
            config = names.format(language=language, role=role)
            files[f"{config}/{split}-00000-of-00001.parquet"] = in_parquet(content)
            configs[config] = {split: f"{config}/{split}-*"}
    return {"README.md": card(configs), **files}


def compressed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)

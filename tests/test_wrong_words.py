"""Wrong words on the command line: one line says what is wrong, and nothing is left."""

import shlex
from pathlib import Path

import pytest
import torch
from command_words import DISTILL, refused, tree
from outcomes import well

EVALUATE = "evaluate --lang sw-en"
no_gpu_here = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("download --lang xx-en", "unknown pair 'xx-en': known: sw-en, so-en, "),
        ("download --lang sw", "unknown pair 'sw': a pair is two languages, did you mean sw-en?"),
        ("download --lang en-sw", "documents are English, did you mean sw-en?"),
        ("download --lang sw-en,sq-en", "unknown pair 'sq-en': did you mean "),
        ("download --lang=", "--lang is empty; give a pair such as sw-en, or all"),
        ("download --lang ,", "--lang is empty"),
        ("download", "Missing option '--lang'; see clir download --help"),
        ("download --lang", "Option '--lang' requires an argument"),
        ("download --lang sw-en --suite smaple", "unknown suite 'smaple': did you mean sample?"),
        ("download --lang sw-en --suite zzz", "unknown suite 'zzz': known: multilingual, open,"),
        ("download --lang sw-en --suite open --mirror nowhere", "--mirror nowhere: no such dir"),
        ("download --lang sw-en --suite open --mirror .", " are missing, the first https://"),
        (f"{DISTILL} --method otp", "unknown method 'otp': did you mean ot?"),
        (
            f"{DISTILL} --method english",
            "method english trains no student; methods that do: rows, ot",
        ),
        (f"{DISTILL} --seed many", "'--seed'"),
        (f"{DISTILL} --seed -1", "'--seed'"),
        (f"{DISTILL} --seed 1.5", "'--seed'"),
        (f"{DISTILL} --seed 99999999999999999999", "'--seed'"),
        (
            f"{DISTILL} --variant a/b",
            "--variant 'a/b': use letters, digits, -, _ and . between them",
        ),
        (f"{DISTILL} --variant seed1", "--variant 'seed1': use letters"),
        (f"{DISTILL} --variant plain.seed1", "seed1 is a seed"),
        (f"{DISTILL} --set training.epoch=3", "did you mean training.epochs?"),
        (f"{DISTILL} --set trainig.epochs=3", "unknown section trainig: did you mean training?"),
        (f"{DISTILL} --set training.epochs=many", "setting training.epochs: input should be"),
        (f"{DISTILL} --set training.epochs", "write it as section.key=value"),
        (f"{DISTILL} --set suite=open", "choose it with --suite"),
        (f"{DISTILL} --set bitext.sources=['tatoba']", "'tatoba': did you mean tatoeba?"),
        (f"{DISTILL} --set teacher.model=all-MiniLM-L6", "did you mean all-MiniLM-L6-v2?"),
        (f"{DISTILL} --config nowhere.toml", "nowhere.toml: no such file"),
        (f"{DISTILL} --config .", ".: cannot be read: Is a directory"),
        (f"{DISTILL} --device cudaa", "unknown device 'cudaa': did you mean cuda?"),
        (f"{DISTILL} --sed 1", "No such option: --sed"),
        (f"{DISTILL} more", "unexpected extra argument"),
        ("index --collection smaple", "unknown collection 'smaple': did you mean sample?"),
        ("index --collection ./nowhere", "nowhere: no such directory"),
        ("download --lang sw-en --device cpu", "--device cpu: clir download runs no model; leave"),
        ("evaluate --metric map --device cpu", "--device cpu: clir evaluate runs no model; leave"),
        ("evaluate --metric map --force", "--force: clir evaluate always writes its result; leave"),
        ("report --force", "--force: clir report always writes its result; leave it out"),
        ("export qrels q --lang sw-en --device cpu", "--device cpu: this export runs no model"),
        ("import run r --lang sw-en --method m --device cpu", "clir import runs no model; leave"),
        ("index --device tpu", "unknown device 'tpu': did you mean cpu?"),
        ("search --lang sw-en --top-k 0", "'--top-k'"),
        ("search --lang sw-en --method ot,engish", "unknown method 'engish': did you mean english"),
        (f"{EVALUATE} --metric ndgc@10", "unknown metric 'ndgc@10': did you mean ndcg@10?"),
        (f"{EVALUATE} --metric recall", "metric 'recall' needs a cut-off, as in recall@10"),
        (f"{EVALUATE} --metric=", "--metric is empty; for example: map, mrr"),
        (EVALUATE, "Missing option '--metric'"),
        (f"{EVALUATE} --metric ndcg@100000000000000000000", "a cut-off has seven digits at most"),
        (f"{EVALUATE} --metric p@{'9' * 5000}", "a cut-off has seven digits at most"),
        (f"{EVALUATE} --metric map --baseline ot.seed{'9' * 5000}", "--variant 'seed999"),
        (f"reproduce optical --cells 1/{'9' * 5000}", "write it as i/n"),
        (f"search --lang sw-en --top-k {'9' * 30}", "setting search.top_k: input should be less"),
        ("index --engine ray --jobs 99999999", "'--jobs'"),
        ("align a b --lang sw-en --dry-run", "--dry-run: clir align makes nothing; leave it out"),
        ("align a b --lang sw-en --force", "--force: clir align makes nothing; leave it out"),
        ("search --lang sw-en --query a --dry-run", "--dry-run: clir search --query makes nothing"),
        ("search --lang sw-en --query a --force", "--force: clir search --query makes nothing"),
        ("search --lang sw-en --lang so-en", "--lang is given twice; where several can be named"),
        (f"{EVALUATE} --metric map --metric mrr", "--metric is given twice"),
        (f"{EVALUATE} --metric map --method ot --method bm25", "--method is given twice"),
        ("reproduce optical --latex --markdown", "latex and markdown: a table has one format"),
        ("reproduce optical --latex --format text", "latex and text: a table has one format"),
        ("align a b --lang sw-en --draw=", "--draw is empty; name a file or folder"),
        ("align a b --lang sw-en --draw .", "--draw .: name a file that ends in .png, .svg, .pdf"),
        ("align a b --lang sw-en --draw a.pgf", "--draw a.pgf: name a file that ends in .png"),
        ("index --home=", "--home is empty; name a file or folder"),
        ("ls indexes --home=", "--home is empty; name a file or folder"),
        (f"{EVALUATE} --metric map --results=", "--results is empty; name a file or folder"),
        ("ls bitexts", "nothing to list under 'bitexts': did you mean bitext?"),
        ("serach --lang sw-en", "No such command 'serach'. Did you mean 'search'? See clir --help"),
        ("--lang sw-en", "No such option: --lang"),
    ],
)
def test_wrong_words_get_one_line_and_leave_nothing(clir, empty, words, said, monkeypatch) -> None:
    monkeypatch.setenv("CLIR_OFFLINE", "1")
    assert said in refused(clir(*words.split()))
    assert tree(empty) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (DISTILL, "make it with: clir download --lang sw-en --suite sample"),
        (f"{DISTILL} --suite open", "make it with: clir download --lang sw-en --suite open"),
        ("index", "make it with: clir download --lang all --suite sample"),
        ("index --suite open", "make it with: clir download --lang all --suite open"),
        (
            "search --lang sw-en --method ot --seed 3",
            "make it with: clir distill --lang sw-en --method ot --seed 3 --suite sample",
        ),
        ("search --lang sw-en --query maji", "make it with: clir distill --lang"),
        (f"{EVALUATE} --metric map", "make it with: clir download --lang"),
        (
            f"{EVALUATE} --metric map --method ot --variant plain",
            "make it with: clir distill --lang sw-en --method ot --variant plain --suite sample",
        ),
    ],
)
def test_without_models_and_data_the_command_that_brings_them_is_told(
    clir, empty, words, said
) -> None:
    assert said in refused(clir(*words.split()))
    assert tree(empty) == []


@pytest.mark.parametrize("where", ["--set", "--config"])
def test_with_files_of_one_pair_the_command_that_brings_the_model_is_accepted(
    clir, empty, where
) -> None:
    Path("rw-en.tsv").write_text("amazi\twater\numuriro\tfire\n", encoding="utf-8")
    Path("mine.toml").write_text('[bitext]\nfiles = ["rw-en.tsv"]\n', encoding="utf-8")
    given = {"--set": 'bitext.files=["rw-en.tsv"]', "--config": "mine.toml"}[where]
    error = refused(clir("distill", "--lang", "rw-en", where, given))
    assert "is missing; make it with: clir download --lang rw-en" in error
    words = shlex.split(error.partition("make it with: clir ")[2])
    assert "models: all-MiniLM-L6-v2" in well(clir(*words, "--dry-run")).out
    well(clir(*words))
    assert Path("artifacts/models/all-MiniLM-L6-v2").is_dir()


def test_the_command_that_mends_it_repeats_what_was_typed(clir, home, tmp_path) -> None:
    config = tmp_path / "my own.toml"
    config.write_text("[training]\nepochs = 1\n", encoding="utf-8")
    words = ["--home", str(home), "--config", str(config), "--set", "teacher.document_tokens=64"]
    said = refused(clir("search", "--lang", "sw-en", "--method", "zero-shot", *words))
    remedy = shlex.split(said.partition("make it with: clir ")[2])
    assert remedy == ["index", "--suite", "sample", *words]
    assert clir(*remedy).code == 0
    assert clir("search", "--lang", "sw-en", "--method", "zero-shot", *words).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("search --lang sw-en --method zero-shot", "make it with: clir index --suite sample"),
        (
            "search --lang sw-en --method english --collection {small}",
            "make it with: clir index --collection {small} --suite sample",
        ),
        ("search --lang sw-en --query maji --method zero-shot", "clir index --suite sample"),
        ("search --lang sw-en --query=", "--query is empty"),
        (f"{EVALUATE} --metric map", "clir search --lang sw-en --method zero-shot --suite sample"),
        (
            f"{EVALUATE} --metric map --method english --collection {{small}}",
            "clir search --lang sw-en --method english --collection {small} --suite sample",
        ),
        pytest.param(f"{DISTILL} --device cuda", "--device cuda: this machine", marks=no_gpu_here),
        pytest.param("index --device cuda:1", "--device cuda:1: this machine", marks=no_gpu_here),
        (f"{DISTILL} --set bitext.files=['no.tsv']", "no.tsv: no such file (bitext.files)"),
        (
            f"{DISTILL} --quiet --set bitext.max_pairs=30 --set training.batch_size=64",
            "training.batch_size is 64 and the bitext has 27 pairs; choose a smaller batch",
        ),
    ],
)
def test_with_models_the_next_missing_thing_is_told(
    clir, empty, home, small_collection, words, said
) -> None:
    before = tree(home)
    line = refused(clir(*words.format(small=small_collection).split(), "--home", home))
    assert said.format(small=small_collection) in line
    # The teacher's embeddings are made before the batches; no half of a student is left.
    assert [name for name in tree(home) if "teacher" not in name and name != "sample"] in (
        before,
        [*before, "sample/sw-en"],
    )
    assert tree(empty) == []

"""train: each recipe from data to a model, and what a model is then used for."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from outcomes import refused
from tiny_encoders import tiny_bert
from transformers import AutoTokenizer

from clir_cli.artifacts.cell import Cell
from clir_cli.corpus import catalogue
from clir_cli.corpus.bitext import Bitext
from clir_cli.corpus.collections import load_collection
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.retrieval.encoder import load_encoder
from clir_cli.stages.download import model_names
from clir_cli.stages.support.augmentation import augmenting, texts_of
from clir_cli.stages.support.lexicons import english_lexicon, switching_pairs
from clir_cli.stages.support.sources import training_collections, training_inputs
from clir_cli.stages.support.used_models import trained_refs
from clir_cli.stages.support.workspace import Workspace
from clir_cli.suites import load_settings

SMALL = (
    "--set", "bitext.max_pairs=120", "--set", "training.epochs=1", "--set",
    "training.batch_size=16", "--set", "monolingual.epochs=1", "--set", "augment.epochs=1",
)  # fmt: skip
PAIR = ("--lang", "sw-en")


@pytest.fixture
def chain(clir, home, models, small_collection, tmp_path):
    """Run a verb with a tiny student and a tiny teacher over the small collection."""
    tiny = tiny_bert(tmp_path / "tiny", models)

    def call(verb, *words, teacher=tiny):
        own = ("--collection", small_collection) if verb in ("index", "search", "evaluate") else ()
        results = ("--results", tmp_path / "results") if verb == "evaluate" else ()
        model = ("--set", f"teacher.model={teacher}")
        return clir(verb, *SMALL, *model, *words, *own, *results, "--home", home)

    return call


def manifest(folder) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def test_students_are_trained_searched_and_scored_like_any_other(chain, home):
    for recipe in ("code-switch", "hybrid"):
        outcome = chain("train", "--recipe", recipe, *PAIR)
        assert outcome.code == 0, outcome.err
        student = home / "sample" / "sw-en" / recipe / "student"
        assert len(AutoTokenizer.from_pretrained(student)) > 30_522
        assert (student / "training.csv").is_file()
        assert "is current" in chain("train", "--recipe", recipe, *PAIR).err
    switched = manifest(home / "sample/sw-en/code-switch/student")
    assert 0.5 < switched["notes"]["coverage"] < 1
    assert switched["notes"]["languages"] == ["sw"]
    assert switched["config"]["contrastive"]["share"] == 0.5
    mixed = manifest(home / "sample/sw-en/hybrid/student")
    assert mixed["notes"]["probability"] == {"cloze": 0.5, "bitext sw-en": 0.5}
    assert "share" not in mixed["config"]["contrastive"]
    assert chain("index").code == 0
    methods = ("--method", "zero-shot,code-switch,hybrid,fusion")
    fused = ("--set", 'fusion.runs=["hybrid", "bm25"]')
    assert chain("search", *PAIR, "--method", "bm25").code == 0
    outcome = chain("search", *PAIR, *methods, *fused)
    assert outcome.code == 0, outcome.err
    rows = chain("evaluate", *PAIR, *methods, *fused, "--metric", "map", "--json").json
    assert {row["method"] for row in rows} == {"zero-shot", "code-switch", "hybrid", "fusion"}
    told = chain("search", *PAIR, "--method", "hybrid", "--query", "maji safi", "--json").json
    assert len(told) == 5


def test_a_setting_that_a_recipe_does_not_read_makes_nothing_stale(chain):
    words = ("train", "--recipe", "hybrid", *PAIR, "--json")
    print_of = [
        chain(*words, "--dry-run", *changes).json[0]["fingerprint"]
        for changes in (
            (),
            ("--set", "contrastive.share=0.1"),
            ("--set", "training.checkpoint_steps=7"),
            ("--set", "contrastive.alpha=0.1"),
        )
    ]
    assert print_of[0] == print_of[1] == print_of[2] != print_of[3]


def test_one_student_for_several_pairs(chain, home):
    pairs = ("--lang", "sw-en,so-en", "--joint")
    outcome = chain("train", "--recipe", "hybrid", *pairs)
    assert outcome.code == 0, outcome.err
    notes = manifest(home / "sample/so+sw-en/hybrid/student")["notes"]
    assert notes["probability"] == {"cloze": 0.5, "bitext so-en": 0.25, "bitext sw-en": 0.25}
    assert chain("index").code == 0
    outcome = chain("search", *pairs, "--method", "hybrid")
    assert "no queries" in outcome.err or "so" in outcome.err  # the small collection is in Swahili
    assert "--joint is for students" in refused(chain("train", "--recipe", "augment", *pairs))


def test_words_are_switched_through_the_dictionaries_that_are_named(tmp_path):
    own = tmp_path / "own.tsv"
    own.write_text("maji moto\twater\nneno word\nndizi\tbanana\n")

    def workspace(*changes):
        told = [f'dictionary.files=["{own}"]', "dictionary.on_error=skip", *changes]
        return Workspace(load_settings("sample", None, told), tmp_path)

    pairs = [Pair("sw", "en")]
    given = english_lexicon(workspace("contrastive.lexicon=given"), pairs[0], None)
    assert given["water"] == ("maji moto", "maji"), "the user's own come first"
    assert given["banana"] == ("ndizi",)
    added = english_lexicon(workspace(), pairs[0], None)
    assert len(added) > len(given)
    assert added["water"][:2] == given["water"]
    least = english_lexicon(workspace("contrastive.least_dice=1"), pairs[0], None)
    assert len(given) <= len(least) < len(added)
    assert switching_pairs(workspace().settings, pairs) == pairs
    every = switching_pairs(workspace("contrastive.switching=multilingual").settings, pairs)
    assert [pair.query for pair in every] == ["sw", "so", "tl", "mr", "fi", "de", "fr"]


def test_a_trained_teacher_has_artifacts_of_its_own(chain, home):
    assert chain("index").code == 0
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
    outcome = chain("distill", *PAIR, teacher="monolingual")
    told = refused(outcome)
    assert "clir train --recipe monolingual --suite sample" in told
    assert "teacher.model" not in told, "it cannot be made from itself"
    outcome = chain("train", "--recipe", "monolingual", "--set", "monolingual.dimensions=16")
    assert outcome.code == 0, outcome.err
    folder = home / "sample/en/monolingual/model"
    assert manifest(folder)["kind"] == "teacher"
    assert load_encoder(folder, torch.device("cpu")).dimensions == 16
    said = refused(chain("index", teacher="monolingual"))
    assert "to use it, add --set monolingual.dimensions=16; or make it again" in said
    small = ("--set", "monolingual.dimensions=16")
    for verb in ("distill", "index", "search"):
        words = small if verb == "index" else (*PAIR, *small)
        outcome = chain(verb, *words, teacher="monolingual")
        assert outcome.code == 0, outcome.err
    words = (*PAIR, *small, "--metric", "map", "--json")
    rows = chain("evaluate", *words, teacher="monolingual").json
    assert {row["variant"] for row in rows} == {"monolingual"}
    under = home / "sample/teachers/monolingual"
    assert (under / "sw-en/ot/student/manifest.json").is_file()
    assert (under / "index/small/manifest.json").is_file()
    now = {path: path.stat().st_mtime_ns for path in before}
    assert now == before, "what the suite's own teacher made is as it was"
    named = chain("search", *PAIR, teacher=folder)
    assert named.err.count("is current") == 3, "the folder is the same teacher"
    assert "unknown model 'monolingua'" in refused(chain("index", teacher="monolingua"))


@pytest.mark.parametrize(
    ("recipe", "key"), [("monolingual", "teacher.model"), ("augment", "student.model")]
)
def test_the_same_settings_train_a_model_and_use_it(tmp_path, recipe, key):
    before, using = (
        load_settings("sample", None, changes) for changes in ((), (f"{key}={recipe}.small",))
    )
    pairs = [Pair("sw", "en")]
    made = trained_refs(using, pairs, Cell(recipe, "small"))
    assert made == trained_refs(before, pairs, Cell(recipe, "small"))
    assert made != trained_refs(using, pairs, Cell(recipe)), "another one may start from it"
    names = [model_names(Workspace(settings, tmp_path)) for settings in (before, using)]
    assert names[0] == names[1] == ["all-MiniLM-L6-v2"]


def test_an_augmented_student_is_where_distillation_starts(chain, home):
    chosen = ("--variant", "augmented", "--set", "student.model=augment")
    told = refused(chain("distill", *PAIR, *chosen))
    assert "clir train --recipe augment --lang sw-en" in told
    assert "student.model" not in told, "it cannot be made from itself"
    assert "--set teacher.model=" in told
    assert chain("train", "--recipe", "augment", *PAIR).code == 0
    folder = home / "sample/sw-en/augment/model"
    notes = manifest(folder)["notes"]
    assert notes["train_sentences"] == 108
    tokens = len(AutoTokenizer.from_pretrained(folder))
    assert 30_522 < tokens <= 30_522 + notes["new_rows"]
    outcome = chain("distill", *PAIR, *chosen)
    assert outcome.code == 0, outcome.err
    student = home / "sample/sw-en/ot.augmented/student"
    assert manifest(student)["notes"]["new_rows"] == 0
    assert len(AutoTokenizer.from_pretrained(student)) == tokens, "the rows are kept, none is new"
    assert chain("index").code == 0
    outcome = chain("search", *PAIR, "--method", "ot,zero-shot", *chosen)
    assert outcome.code == 0, outcome.err


def test_text_of_ones_own_is_read_by_the_line_each_once(models, tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("".join(f"maji safi namba {number % 50}\n\n" for number in range(60)))
    words = [f'augment.files=["{own}"]', "augment.sentences=20", "training.batch_size=16"]
    student = load_encoder(tiny_bert(tmp_path / "tiny", models), torch.device("cpu"))
    bitext = Bitext([], [], {})
    chosen = load_settings("sample", None, words)
    reader, task, notes = augmenting(chosen, student, 7, texts_of(chosen, bitext), seed=1)
    assert (len(task.train), len(task.held_out)) == (20, 5)
    assert not {tuple(ids) for ids in task.train} & {tuple(ids) for ids in task.held_out}
    assert notes["train_sentences"] == 20
    assert reader.head is not None
    own.write_bytes(b"maji \xff\n")
    with pytest.raises(UserError, match=r"own.txt: not valid UTF-8 at byte 5"):
        texts_of(chosen, bitext)
    own.write_text("maji\nmoto\n")
    with pytest.raises(UserError, match="at least 10 are needed"):
        texts_of(chosen, bitext)


def test_questions_of_a_collection_train_and_then_do_not_test(
    chain, clir, home, small_collection, tmp_path
):
    training = tmp_path / "asked"
    small_collection.rename(training)
    judged = training / "qrels" / "test.tsv"
    lines = judged.read_text().splitlines()
    query = lines[1].split("\t")[0]
    rows = [line.split("\t") for line in lines[1:]]
    right = {row[1] for row in rows if row[0] == query}
    wrong = next(row[1] for row in rows if row[1] not in right)
    judged.write_text("\n".join([*lines, f"{query}\t{wrong}\t0"]) + "\n")
    collection = ("--set", f"contrastive.collection={training}")
    small = ("--set", "training.batch_size=4", "--set", "bitext.held_out=2")
    outcome = chain("train", "--recipe", "hybrid", *PAIR, *collection, *small)
    assert outcome.code == 0, outcome.err
    notes = manifest(home / "sample/sw-en/hybrid/student")["notes"]
    assert list(notes["train_queries"]) == ["asked en", "cloze", "bitext sw-en", "asked sw"]
    assert notes["train_queries"]["asked en"] > notes["held_out_queries"]["asked en"] > 0
    assert clir("index", "--collection", training, "--home", home).code == 0
    words = ("--collection", training, "--home", home)
    outcome = clir("search", *PAIR, "--method", "hybrid", *words)
    assert "was trained on asked, so asked cannot test it" in refused(outcome)
    itself = ("--set", "contrastive.collection=sample")
    assert "is the collection that tests" in refused(
        chain("train", "--recipe", "monolingual", *itself)
    )


def test_a_teacher_of_tokens_is_trained_on_several_collections(
    chain, clir, home, small_collection, tmp_path
):
    first, second = small_collection.rename(tmp_path / "asked"), tmp_path / "told"
    shutil.copytree(first, second)
    chosen = (
        "--set", f"contrastive.collection={first}, {second}", "--set", "bitext.held_out=2",
        "--set", "late_interaction.batch_size=4", "--set", "late_interaction.epochs=2",
        "--set", "late_interaction.chunk_tokens=256", "--set", "late_interaction.distillation=0.5",
        "--set", "late_interaction.passages=true", "--set", "late_interaction.dimensions=16",
    )  # fmt: skip
    train = ("train", "--recipe", "late-interaction", *chosen)
    outcome = chain(*train)
    assert outcome.code == 0, outcome.err
    folder = home / "sample/en/late-interaction/model"
    made = manifest(folder)
    names = ["asked en", "told en", "passages of asked en", "passages of told en"]
    assert list(made["notes"]["train_queries"]) == names
    assert made["config"]["late_interaction"]["depth"] == 30
    assert "batch_size" not in made["config"]["training"]
    assert {"asked en, documents", "told en, queries.en"} <= made["inputs"].keys()
    assert load_encoder(folder, torch.device("cpu")).dimensions == 16
    assert "is current" in chain(*train).err
    words = ("--collection", second, "--home", home)
    teacher = ("--set", f"teacher.model={folder}")
    assert clir("index", *teacher, *words).code == 0
    outcome = clir("search", *PAIR, "--method", "english", *teacher, *words)
    assert "was trained on told, so told cannot test it" in refused(outcome)
    shutil.copytree(first, tmp_path / "other" / "asked")
    twice = ("--set", f"contrastive.collection={first},{tmp_path}/other/asked")
    assert "contrastive.collection: two are called asked" in refused(chain(*train, *twice))
    large = ("--variant", "large", "--set", "late_interaction.batch_size=400")
    assert "late_interaction.batch_size is 400 and asked en has" in refused(chain(*train, *large))


def test_what_the_suite_tests_with_does_not_train(home, monkeypatch):
    entries = catalogue.sources("collections")
    sample = entries["sample"]
    checked = replace(sample, name="same", options={**sample.options, "drop_test_texts": True})
    monkeypatch.setitem(entries, "same", checked)

    def read(names):
        settings = load_settings("sample", None, [f"contrastive.collection={names}"])
        inputs = training_inputs(settings, ["en"])
        workspace = Workspace(settings, home)
        ((collection, dropped),) = training_collections(workspace, "en")
        return collection, dropped, {key for each in inputs for key in each.digests(workspace)}

    collection, dropped, inputs = read("same")
    assert not collection.documents and not collection.queries["en"]
    assert dropped == 144 + sum(map(len, load_collection("sample", "en", home).queries.values()))
    assert "en texts that test" in inputs
    monkeypatch.setitem(entries, "same", replace(checked, options=sample.options))
    collection, dropped, inputs = read("same")
    assert (len(collection.documents), dropped) == (144, 0)
    assert inputs == {"same en, documents", "same en, qrels", "same en, queries.en"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--recipe codeswitch", "unknown recipe 'codeswitch': did you mean code-switch?"),
        ("--recipe code-switch --set contrastive.share=1.5", "setting contrastive.share: input"),
        ("--recipe code-switch --set contrastive.share=-0.1", "setting contrastive.share: input"),
        ("--recipe hybrid --set contrastive.alpha=2", "setting contrastive.alpha: input"),
        ("--recipe augment --set augment.share=0", "setting augment.share: input"),
        ("--recipe hybrid --lang xx-en", "unknown pair 'xx-en'"),
        ("--recipe hybrid --lang it-en", "no bitext for it-en: the sources (sample) lack it"),
        ("--recipe hybrid --variant a/b", "use letters, digits"),
        ("--recipe hybrid --lang sw-en --joint", "one student of several pairs"),
        ("--recipe augment --set augment.files=['no.txt']", "no.txt: no such file (augment.files)"),
        (
            "--recipe code-switch --set contrastive.lexicon=given --set dictionary.sources=[]",
            "no dictionary for sw-en; name one with dictionary.sources or .files",
        ),
        ("--recipe code-switch --set contrastive.lexicon=plans", "clir distill --lang sw-en"),
        ("--recipe hybrid --set contrastive.collection=smaple", "did you mean sample?"),
        (
            "--recipe late-interaction --set contrastive.collection=belebele,smaple",
            "did you mean sample?",
        ),
        (
            "--recipe late-interaction --set contrastive.collection=belebele,sample",
            "contrastive.collection=sample is the collection that tests",
        ),
        ("--recipe late-interaction --set late_interaction.depth=0", "late_interaction.depth: inp"),
        ("--recipe hybrid --set training.batch_size=500", "training.batch_size is 500 and"),
        ("--recipe augment --set training.batch_size=500", "training.batch_size is 500 for"),
        ("--recipe hybrid --set training.batch_size=1", "contrastive training needs 2 or more"),
    ],
)
def test_wrong_words_get_one_line_and_leave_nothing(chain, home, words, said):
    pair = () if "--lang" in words else PAIR
    assert said in refused(chain("train", *words.split(), *pair, "--quiet"))
    assert not (home / "sample").exists()


WORK = (("index",), ("distill", *PAIR), *(
    ("train", "--recipe", recipe, *PAIR) for recipe in ("monolingual", "hybrid", "augment")
))  # fmt: skip


def test_an_encoder_without_its_tokenizer_is_refused_before_any_work(chain, home, models, tmp_path):
    bare, mixed = (tiny_bert(tmp_path / name, models) for name in ("bare", "mixed"))
    for path in bare.glob("tokenizer*"):
        path.unlink()
    layout = json.loads((mixed / "tokenizer.json").read_text(encoding="utf-8"))
    layout["model"]["vocab"]["zzyzx"] = len(layout["model"]["vocab"])
    (mixed / "tokenizer.json").write_text(json.dumps(layout), encoding="utf-8")
    for folder, said in ((bare, "no tokenizer (tokenizer.json"), (mixed, "take both from one")):
        for words in WORK:
            told = refused(chain(*words, "--quiet", teacher=folder))
            assert told.startswith(f"clir: {folder}: ")
            assert said in told
        student = ("--set", f"student.model={folder}")
        for words in WORK[1:2] + WORK[3:]:
            assert said in refused(chain(*words, *student, "--quiet"))
    assert not (home / "sample").exists(), "not even the teacher's reading of the bitext"


def test_a_dictionary_with_malformed_lines_is_told_by_its_line(chain, tmp_path):
    own = tmp_path / "own.tsv"
    own.write_text("maji\twater\nsiku day\n")
    words = ("--recipe", "code-switch", *PAIR, "--set", f'dictionary.files=["{own}"]')
    told = refused(chain("train", *words, "--quiet"))
    assert "own.tsv" in told
    assert "2" in told


def test_methods_and_recipes_tell_each_other(chain, clir):
    listed = {row["method"] for row in clir("ls", "methods", "--json").json}
    assert {"code-switch", "hybrid"} <= listed
    recipes = [row["recipe"] for row in clir("ls", "recipes", "--json").json]
    assert {"monolingual", "late-interaction", "code-switch", "hybrid", "augment"} <= {*recipes}
    told = refused(chain("distill", *PAIR, "--method", "hybrid"))
    assert "clir train --recipe hybrid --lang sw-en" in told
    assert chain("index").code == 0
    told = refused(chain("search", *PAIR, "--method", "code-switch", "--seed", 3))
    assert "clir train --recipe code-switch --lang sw-en --seed 3" in told

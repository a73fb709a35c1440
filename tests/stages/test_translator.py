"""train --recipe translator: from bitext to a model of one's own, and what it is then used for."""

import json
import shutil

import pytest
import torch
from outcomes import refused, well
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from clir_cli.artifacts import graph
from clir_cli.artifacts.cell import Cell
from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.records import Pair
from clir_cli.errors import UserError
from clir_cli.retrieval.nmt import load_translator
from clir_cli.stages.support import checkpointing
from clir_cli.suites import load_settings

SMALL = {
    "bitext.max_pairs": 60, "bitext.held_out": 6, "training.checkpoint_steps": 1,
    "translator.encoder_layers": 1, "translator.decoder_layers": 1, "translator.width": 16,
    "translator.vocabulary_size": 400, "translator.epochs": 3, "translator.least_pairs": 0,
    "translator.batch_size": 16, "translator.held_out_beams": 2, "translator.max_length": 40,
    "translator.patience": 0, "nmt.max_tokens": 8, "nmt.beams": 1,
}  # fmt: skip
PAIR = ("--lang", "sw-en")
TRAIN = ("train", "--recipe", "translator")
CPU = torch.device("cpu")


@pytest.fixture
def chain(clir, home, small_collection, quick):
    """Run a verb with a tiny translator over the small collection."""
    chosen = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]

    def call(verb, *words):
        own = ("--collection", small_collection) if verb in ("index", "search") else ()
        return clir(verb, *quick[:2], *chosen, *words, *own, "--home", home)

    return call


def manifest(folder) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def digests(folder) -> dict[str, str]:
    files = manifest(folder)["files"]
    return {
        name: entry["sha256"]
        for name, entry in files.items()
        if name not in ("training.csv", "notes.json")
    }


def test_a_translator_is_trained_and_translates_queries_for_both_methods(chain, home):
    said = refused(chain("search", *PAIR, "--method", "nmt-bm25"))
    assert "sample/sw-en/translator/model is missing; make it with: clir train --recipe" in said
    assert "--recipe translator --lang sw-en --suite sample" in said
    assert "--set translator.width=16" in said and "nmt.model" not in said
    outcome = well(chain(*TRAIN, *PAIR))
    assert "held-out chrF " in outcome.err
    folder = home / "sample/sw-en/translator/model"
    made = manifest(folder)
    assert made["kind"] == "translator"
    notes = made["notes"]
    assert (notes["bitext_pairs"], notes["held_out_pairs"], notes["beams"]) == (54, 6, 2)
    assert "version:" in notes["chrf_signature"] and "version:" in notes["bleu_signature"]
    assert 0 <= notes["held_out_chrf"] <= 100 and 0 <= notes["chrf"] <= 100
    assert "teacher" not in made["config"] and "dictionary" not in made["config"]
    assert made["config"]["translator"]["width"] == 16
    assert set(made["config"]["training"]) == {"warmup", "weight_decay", "clip", "precision"}
    header = (folder / "training.csv").read_text().splitlines()[0]
    assert header.endswith("held_out_loss,held_out_chrf")
    assert "is current" in well(chain(*TRAIN, *PAIR)).err

    well(chain("index"))
    well(chain("search", *PAIR, "--method", "nmt,nmt-bm25"))
    (stored,) = (home / "sample/sw-en/nmt").rglob("queries.en.jsonl")
    rows = [json.loads(line) for line in stored.read_text(encoding="utf-8").splitlines()]
    text = "maji safi ya kunywa"
    typed = well(chain("search", *PAIR, "--method", "nmt-bm25", "--query", text, "--json")).json
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    ids = model.generate(
        **tokenizer([text], return_tensors="pt"), num_beams=1, max_new_tokens=8
    )  # as anybody else would use it
    assert {row["query"] for row in typed} <= set(tokenizer.batch_decode(ids, True))
    assert rows


def test_an_interrupted_training_ends_in_the_same_model(chain, home, monkeypatch):
    well(chain(*TRAIN, *PAIR))
    folder = home / "sample/sw-en/translator/model"
    whole, notes = digests(folder), manifest(folder)["notes"]
    shutil.rmtree(folder)
    save = checkpointing._checkpoint

    def saved_and_interrupted(workspace, training, step, draft):
        save(workspace, training, step, draft)
        if step.number == 5:  # within the second epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpointing, "_checkpoint", saved_and_interrupted)
        assert chain(*TRAIN, *PAIR).code == 130
    outcome = well(chain(*TRAIN, *PAIR))
    assert "continuing from step 5 of 9" in outcome.err
    assert digests(folder) == whole
    assert manifest(folder)["notes"] == notes


def test_a_damaged_or_foreign_translator_is_told_in_one_line(chain, home):
    well(chain(*TRAIN, "--lang", "sw-en,so-en"))
    folder, other = (home / f"sample/{pair}/translator/model" for pair in ("sw-en", "so-en"))
    search = ("search", *PAIR, "--method", "nmt-bm25")
    said = refused(chain(*search, "--set", f"nmt.model={other}"))
    assert "translates from 'so' to 'en', not from 'sw' to 'en'" in said

    kept = folder.with_name("kept")
    folder.rename(kept)
    shutil.copytree(other, folder)
    assert "put the folder back where it was" in refused(chain(*search))
    shutil.rmtree(folder)

    shutil.copytree(kept, folder)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    assert "model.safetensors: " in refused(chain(*search))
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    said = refused(chain(*search))
    assert "model.safetensors: sha256 differs" in said and "--recipe translator" in said
    weights.write_bytes(content)

    (folder / "manifest.json").unlink()  # a copy without a manifest, of the other direction
    config = json.loads((folder / "config.json").read_text())
    assert (config["source_language"], config["target_language"]) == ("sw", "en")
    for source, target in (("en", "sw"), ("sw", "so")):
        config |= {"source_language": source, "target_language": target}
        (folder / "config.json").write_text(json.dumps(config))
        told = f"translates from '{source}' to '{target}', not from 'sw' to 'en'"
        with pytest.raises(UserError, match=told):
            load_translator(folder, ["sw", "swa", "swh"], CPU)


def test_entries_of_the_dictionary_are_pairs_if_asked_for(chain, home):
    more = ("--set", "translator.dictionary=true", "--variant", "words")
    well(chain(*TRAIN, *PAIR, *more, "--set", "translator.copies=20"))
    made = manifest(home / "sample/sw-en/translator.words/model")
    assert made["config"]["dictionary"]["sources"] == ["sample"]
    assert any("dictionary/sw.tsv" in name for name in made["inputs"])
    notes = made["notes"]
    assert notes["dictionary_pairs"] > 100
    assert notes["copied_pairs"] == 20
    assert notes["train_pairs"] == 74 + notes["dictionary_pairs"] - notes["too_long"]
    said = refused(chain(*TRAIN, *PAIR, *more[:2], "--set", "dictionary.sources=[]"))
    assert "translator.dictionary: no dictionary for sw-en" in said
    well(chain("search", *PAIR, "--method", "nmt-bm25", *more[2:]))
    assert (home / "sample/sw-en/nmt.words").is_dir()


def test_english_sentences_are_translated_back_by_a_model_of_the_other_direction(chain, home):
    more = ("--set", "translator.back_sentences=30", "--variant", "back")
    said = refused(chain(*TRAIN, *PAIR, *more))
    assert "clir train --recipe back-translator --lang sw-en --variant back" in said
    assert "back_sentences" not in said, "it does not reach the one back"
    well(chain("train", "--recipe", "back-translator", *PAIR, *more[2:]))
    back = home / "sample/sw-en/back-translator.back/model"
    config = json.loads((back / "config.json").read_text())
    assert (config["source_language"], config["target_language"]) == ("en", "sw")
    well(chain(*TRAIN, *PAIR, *more))
    made = manifest(home / "sample/sw-en/translator.back/model")
    assert "back-translator" in made["inputs"]
    counts = {name: made["notes"][f"{name}_pairs"] for name in ("bitext", "back_translated")}
    assert counts["bitext"] == 54 and 0 < counts["back_translated"] <= 30
    wrong = ("--method", "nmt-bm25", "--set", f"nmt.model={back}")
    said = refused(chain("search", *PAIR, *wrong))
    assert "translates from 'en' to 'sw', not from 'sw' to 'en'" in said


def test_what_cannot_be_trained_is_refused(chain):
    assert "--joint is for students" in refused(chain(*TRAIN, "--lang", "sw-en,so-en", "--joint"))
    said = refused(chain(*TRAIN, *PAIR, "--set", "translator.max_length=4"))
    assert "translator.max_length is 4 and all pairs of sw-en are longer" in said
    said = refused(chain(*TRAIN, *PAIR, "--set", "translator.learning_rate=1e12"))
    assert "the training diverged" in said


def test_the_graph_knows_what_translations_need_and_what_reaches_them():
    settings = load_settings("sample", None, [])
    run = Ref("run", settings, (Pair("sw", "en"),), Cell("nmt", "few"))
    (translations,) = (ref for ref in graph.needs(run) if ref.kind == "translations")
    (model,) = (ref for ref in graph.needs(translations) if ref.kind == "translator")
    assert model.cell == Cell("translator", "few")
    assert [ref.kind for ref in graph.needs(model)] == ["bitext"]
    reached = graph.reach(run)
    own = {"translator.width", "bitext.max_pairs", "training.warmup", "nmt.model", "nmt.beams"}
    assert own <= reached
    others = {"training.epochs", "student.model", "transport.eps", "dictionary.sources"}
    assert not others & reached - {"teacher.model"}
    told = load_settings("sample", None, ["translator.dictionary=true"])
    more = graph.reach(Ref("run", told, (Pair("sw", "en"),), Cell("nmt")))
    assert "dictionary.sources" in more and "dictionary.induced" not in more
    told = load_settings("sample", None, ["translator.back_sentences=9"])
    (back,) = (
        ref
        for ref in graph.needs(Ref("translator", told, (Pair("sw", "en"),), Cell("translator")))
        if ref.kind == "translator"
    )
    assert back.cell == Cell("back-translator")
    assert "translator.back_sentences" not in graph.reach(back)
    assert [ref.kind for ref in graph.needs(back)] == ["bitext"]
    other = load_settings("sample", None, ["nmt.model=someone/tiny"])
    fetched = Ref("run", other, (Pair("sw", "en"),), Cell("nmt"))
    assert not {"translator.width", "bitext.max_pairs"} & graph.reach(fetched)

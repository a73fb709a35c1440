"""A broken model has the embeddings of the whole one, or is refused in one line."""

import shutil
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from clir_cli.errors import UserError
from faults.hostile_models import broken_models, embeddings, fetched, outcome, whole_models
from faults.judging import REFUSED, SAME
from faults.model_faults import faults_of


def try_some(folder: Path, seed: int, most: int) -> Counter[str]:
    counts, wrong = Counter(), []
    for number, (name, broken) in enumerate(islice(broken_models(folder, seed), most)):
        kind = name.split(",")[0]
        by_name = number % 3 == 2 and kind != "student"
        verdict = outcome(folder / "whole" / kind, broken, by_name)
        counts[verdict] += 1
        if verdict not in (SAME, REFUSED):
            wrong.append(f"{name}{' (by name)' * by_name}: {verdict}")
    assert not wrong, "\n".join([f"{len(wrong)} of {most}", *wrong])
    return counts


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return whole_models(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("kind", "fault", "said"),
    [
        ("plain", "config.json: a list", "config.json: input should be .*; fetch the model again"),
        ("plain", "config.json: deep objects", r"not readable as JSON \(recursion limit"),
        ("plain", "config.json: hidden_size = a text", "'hidden_size' expected int, got str"),
        ("plain", "config: num_attention_heads = 0", "the model cannot be loaded: integer modulo"),
        ("plain", "config: hidden_size = 65536", "parameters and the weights have"),
        ("plain", "config: vocab_size = 1", r"\(1, 16\) by config.json"),
        ("plain", "config: a clip", "hidden_size is None, not a number from 1|they belong"),
        ("plain", "config: max_position_embeddings = 0", "they belong to different models"),
        ("plain", "config: layer_norm_eps = -1.0", "token embeddings that are not finite"),
        ("plain", "weights: NaN", "is not finite"),
        (
            "plain",
            "weights: one is of whole numbers",
            "is stored as I64; take weights",
        ),
        (
            "multi-vector",
            "1_Dense/config.json: in_features = []",
            "in_features: input should be",
        ),
        ("multi-vector", "modules.json: 1.path = ../../x", "leads out of the model"),
        ("multi-vector", "modules.json: a list", "modules.json: list should have at least 1 item"),
        ("multi-vector", "sentence_bert_config.json: query_length = 10^30", "less than 1048576"),
        ("stanford", "artifact.metadata: query_maxlen = a text", "query_maxlen: input should be"),
        ("student", "recipe.json: a number", "recipe.json: input should be"),
        ("shards", "index names '../model.safetensors'", "is not the name of a safetensors file"),
        ("shards", "model.safetensors.index.json: weight_map = [1]", "weight_map: input should"),
        ("plain", "tokenizer: no words", "no tokens but special ones"),
        ("plain", "tokenizer: no special tokens", "ids of the tokenizer belong to two tokens"),
        ("plain", "tokenizer: an id beyond the rows", "100001 tokens and the model 508 embedding"),
        ("plain", "tokenizer: unknown normalizer", "the tokenizer cannot be loaded"),
    ],
)
def test_a_fault_is_told_with_file_and_reason(
    whole: dict[str, Path], tmp_path: Path, kind: str, fault: str, said: str
) -> None:
    broken = shutil.copytree(whole[kind], tmp_path / "model")
    dict(faults_of(kind, whole[kind]))[fault](broken, Random(0))
    with pytest.raises(UserError, match=said) as error:
        embeddings(broken)
    assert str(broken) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("config.json: a web page", "a web page came in its place"),
        ("tokenizer.json: half", "tokenizer.json: not readable as JSON .*; sign in or accept"),
        ("weights: cut", "model.safetensors: no safetensors: .*; sign in or accept the terms"),
        ("config: code of its own", "code of its own"),
    ],
)
def test_a_fault_on_a_mirror_is_told_and_nothing_of_it_is_kept(
    whole: dict[str, Path], tmp_path: Path, fault: str, said: str
) -> None:
    broken = shutil.copytree(whole["plain"], tmp_path / "model")
    dict(faults_of("plain", whole["plain"]))[fault](broken, Random(0))
    with pytest.raises(UserError, match=said) as error:
        embeddings(fetched(broken))
    assert "\n" not in str(error.value)
    if said != "code of its own":
        name = fault.split(":")[0].replace("weights", "model.safetensors")
        assert not list((broken / "fetched").glob(f"{name}*"))


@pytest.mark.parametrize("by_name", [False, True])
def test_whole_models_are_read(whole: dict[str, Path], tmp_path: Path, by_name: bool) -> None:
    for kind, model in whole.items():
        if not (by_name and kind == "student"):
            copy = shutil.copytree(model, tmp_path / kind)
            assert outcome(model, copy, by_name) == SAME


def test_a_sample_of_broken_models(tmp_path: Path) -> None:
    assert try_some(tmp_path, 0, 40)[REFUSED] > 20


@pytest.mark.faults
def test_many_broken_models(tmp_path: Path) -> None:
    try_some(tmp_path, 1, 600)

"""Translation models in their real formats: the loading is what is tested, not the words."""

import pytest
import torch
from tiny_translators import m2m, marian, save, t5

from clir_cli.errors import UserError
from clir_cli.retrieval.nmt import load_translator

CPU = torch.device("cpu")
CODES = ["sw", "swa", "swh"]


@pytest.mark.parametrize(
    ("model", "marks", "source", "prefix"),
    [
        (m2m, ("swh_Latn", "eng_Latn"), "swh_Latn", ""),  # NLLB
        (m2m, ("__sw__", "__en__"), "sw", ""),  # M2M-100
        (t5, ("<2en>", "<2sw>"), "", "<2en> "),  # MADLAD-400
        (marian, (), "", ""),  # OPUS-MT
        (marian, (">>eng<<", ">>deu<<"), "", ">>eng<< "),
    ],
    ids=["nllb", "m2m-100", "madlad", "opus-mt", "opus-mt-multilingual"],
)
def test_each_family_is_told_the_direction_its_own_way(tmp_path, model, marks, source, prefix):
    folder = save(tmp_path / "model", model, marks)
    translator = load_translator(folder, CODES, CPU)
    assert translator.direction.source == source
    assert translator.direction.prefix == prefix
    if source:
        first = translator.direction.first_token
        assert translator.tokenizer.convert_ids_to_tokens(first) in ("eng_Latn", "__en__")
    texts = ["maji safi", "watoto", "maji safi watoto maji"]
    once = translator.translate(texts, beams=2, max_tokens=8)
    assert len(once) == 3
    assert once == translator.translate(texts, beams=2, max_tokens=8)
    alone = [translator.translate([text], beams=2, max_tokens=8)[0] for text in texts]
    assert alone == once  # whatever a text is batched with


def test_a_model_that_lacks_the_language_is_refused(tmp_path):
    folder = save(tmp_path / "model", m2m, ("fra_Latn", "eng_Latn"))
    with pytest.raises(UserError, match="does not know the language 'sw'"):
        load_translator(folder, CODES, CPU)


def test_a_folder_without_weights_is_told_in_one_line(tmp_path):
    folder = save(tmp_path / "model", marian)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="the model cannot be loaded"):
        load_translator(folder, CODES, CPU)
    with pytest.raises(UserError, match="cannot be loaded"):
        load_translator(tmp_path / "nothing", CODES, CPU)
    folder = save(tmp_path / "dumb", t5)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match=r"no tokenizer \(tokenizer\.json"):
        load_translator(folder, CODES, CPU)

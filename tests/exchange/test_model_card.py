"""A model card says what is known, and says so where something is not."""

from clir_cli.corpus.records import Pair
from clir_cli.exchange.model_card import Card, CardScore, text_of

CARD = Card(
    role="student",
    method="ot",
    pairs=(Pair("sw", "en"),),
    teacher="all-MiniLM-L6-v2",
    initial="all-MiniLM-L6-v2",
    dimensions=384,
    lengths=(128, 256),
    prompts={"query": "", "document": ""},
    centred=False,
    version="1",
    commands=["clir distill --lang sw-en"],
    notes={
        "sources": {"tico-19": 3071, "stsb": 5749, "files": 12},
        "machine_translated": ["stsb"],
        "train_pairs": 8000,
        "held_out_pairs": 128,
    },
    examples=("maji", "Water."),
)


def changed(**changes) -> str:
    return text_of(Card(**{**vars(CARD), **changes}))


def test_sources_have_their_pairs_and_licence_and_a_machine_s_are_marked():
    rows = [line for line in text_of(CARD).splitlines() if line.startswith("| sw-en |")]
    assert len(rows) == 3
    assert "3,071 | CC0" in rows[0]
    assert "(machine-translated) | 5,749" in rows[1]
    assert rows[2] == "| sw-en | files | 12 | not known to clir: files of the user |"
    assert "8,000 pairs of sw-en to train on, 128 held out" in text_of(CARD)
    text = changed(notes={}, sources=("tico-19",))  # a student of another recipe
    assert "| not recorded | CC0" in text


def test_no_score_is_made_up_and_what_is_left_out_is_told():
    assert "has no scores here" in text_of(CARD)
    score = CardScore("ntrex", "sw-en", "mrr", 0.4206, 0.38, 0.4611, 397)
    text = changed(scores=(score,), left_out=("mine, sw-en (no run)",), confidence=0.9)
    assert "| ntrex | sw-en | mrr | 0.421 [0.380, 0.461] | 397 |" in text
    assert "90% bootstrap interval over queries. Left out: mine, sw-en (no run)." in text


def test_the_use_fits_the_model():
    assert "base_model: sentence-transformers/all-MiniLM-L6-v2\n" in text_of(CARD)
    assert "models.ColBERT(" in text_of(CARD)
    text = changed(centred=True)
    assert "PyLate cannot load it" in text
    assert "- ColBERT" not in text
    text = changed(prompts={"query": "query: ", "document": ""})
    assert 'is_query=True, prompt_name="query")' in text
    assert "| prompt of a query | `query: ` |" in text
    mine = changed(teacher="mine", initial="mine")
    assert "base_model" not in mine
    assert "mine (licence: see its source)" in mine

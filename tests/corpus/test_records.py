"""The record types, and pairs as people type them."""

import pytest

from clir_cli.corpus.catalogue import languages
from clir_cli.corpus.records import Document, Pair, parse_pair
from clir_cli.errors import UserError


@pytest.mark.parametrize("language", ["sw", "so", "tl", "mr", "fi", "de", "fr"])
@pytest.mark.parametrize("spelling", ["{}-en", " {}-en ", "{}-EN"])
def test_a_pair_is_read_as_people_type_it(language: str, spelling: str) -> None:
    found = parse_pair(spelling.format(language.upper()), languages())
    assert found == Pair(language, "en")
    assert str(found) == f"{language}-en"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("xx-en", "known: sw-en, so-en, tl-en, "),
        ("swa-en", "did you mean sw-en?"),
        ("deu-en", "did you mean de-en?"),
        ("sw", "a pair is two languages, did you mean sw-en?"),
        ("fi", "a pair is two languages, did you mean fi-en?"),
        ("en", "a pair is two languages"),
        ("", "a pair is two languages"),
        ("en-sw", "documents are English, did you mean sw-en?"),
        ("en-mr", "documents are English, did you mean mr-en?"),
        ("en-en", "known: sw-en|did you mean"),
        ("fr-de", "did you mean fr-en?"),
        ("sw-en-fi", "did you mean sw-en?"),
        ("-en", "known: sw-en|did you mean"),
        ("sw_en", "did you mean sw-en?"),
        ("qqqqqqqq-en", "known: sw-en, so-en, tl-en, mr-en, fi-en, de-en, fr-en|did you mean"),
    ],
)
def test_an_unknown_pair_is_told_with_the_nearest_name(text: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint.replace("?", r"\?")) as error:
        parse_pair(text, languages())
    assert str(error.value).startswith(f"unknown pair {text!r}: ")


@pytest.mark.parametrize(
    ("title", "text", "full"),
    [("Wells", "Dig.", "Wells. Dig."), ("", "Dig.", "Dig."), ("Wells", "", "Wells")],
)
def test_a_document_is_encoded_with_its_title(title: str, text: str, full: str) -> None:
    assert Document("d", title, text).full_text == full

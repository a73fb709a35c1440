from clir_cli.vocabulary.subwords import learn_subwords

FINNISH = [
    ["talo", "talossa", "talosta"],
    ["auto", "autossa", "autosta"],
    ["koulu", "koulussa", "koulusta"],
    ["talo", "auto", "koulu"],
]


def test_stems_and_endings_are_pieces():
    cut = learn_subwords(FINNISH, 100)
    assert cut("talo") == ("talo",)  # frequent words are whole
    assert cut("talossa") == ("talo", "##s", "##sa")
    assert cut("autossa") == ("auto", "##s", "##sa")  # the ending is in the same pieces


def test_a_word_that_was_not_seen_is_cut_too():
    cut = learn_subwords(FINNISH, 100)
    pieces = cut("talolussa")
    assert pieces[0] == "talo"
    assert "".join(piece.removeprefix("##") for piece in pieces) == "talolussa"
    assert all(piece.startswith("##") for piece in pieces[1:])


def test_letters_that_were_not_seen_leave_no_piece():
    assert learn_subwords(FINNISH, 100)("žižka") == ()


def test_the_same_words_give_the_same_pieces():
    words = sorted({word for sentence in FINNISH for word in sentence})
    one, two = learn_subwords(FINNISH, 40), learn_subwords([list(s) for s in FINNISH], 40)
    assert [one(word) for word in words] == [two(word) for word in words]

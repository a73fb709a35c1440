import random

from clir_cli.corpus.formats.own_bitext import read_files
from clir_cli.corpus.formats.reading import Faults
from clir_cli.corpus.realign import _in_step, realign
from clir_cli.corpus.records import SentencePair
from clir_cli.suites import bundled


def sample(language: str) -> list[SentencePair]:
    folder = bundled("data") / "sample" / "bitext"
    paths = (folder / f"sample.{language}.txt", folder / "sample.en.txt")
    return list(read_files(paths, Faults()))


def test_a_bitext_that_did_not_slip_stays_as_it_is():
    for language in ("sw", "mr", "fi"):
        pairs = sample(language)
        kept = realign(pairs)
        assert kept.pairs == pairs
        assert kept.moved == 0


def slipped_by_one(pairs: list[SentencePair]) -> list[SentencePair]:
    """Return pairs whose English side loses a line at 200 and gains one at 400."""
    english = [pair.english for pair in pairs]
    other = [*english[:200], *english[201:401], "A line of another text.", *english[401:]]
    return [SentencePair(pair.query, line) for pair, line in zip(pairs, other, strict=True)]


def test_words_that_differ_in_vowel_signs_alone_are_different_words():
    """Each English word has a word of one letter and a series of signs; letters say nothing."""
    chance, signs = random.Random(2), "\u093e\u093f\u0940\u0941\u0942\u0947\u0948\u094b"
    known = {f"w{number}": "".join("\u0915" + chance.choice(signs) for _ in range(5))
             for number in range(150)}  # fmt: skip
    pairs = []
    for _ in range(600):
        english = chance.sample(sorted(known), 6)
        pairs.append(SentencePair(" ".join(known[word] for word in english), " ".join(english)))
    mended = realign(slipped_by_one(pairs))
    assert mended.moved > 150
    assert len(set(mended.pairs) & set(pairs)) > 0.95 * len(pairs)


def test_a_side_that_slipped_is_put_right():
    pairs = sample("so")
    # English loses a line at 200 and gains one at 400, as when a cell of a table is deleted.
    english = [pair.english for pair in pairs]
    slipped = (
        english[:200] + english[201:401] + ["A line of another text altogether."] + english[401:]
    )
    broken = [SentencePair(pair.query, other) for pair, other in zip(pairs, slipped, strict=True)]
    wrong = sum(one != two for one, two in zip(broken, pairs, strict=True))
    mended = realign(broken)
    true = set(pairs)
    found = [pair for pair in mended.pairs if pair in true]
    assert wrong > 190
    assert len(found) > 0.8 * len(pairs)  # from 66 %, with no more than 576 lines to learn from
    assert len(mended.pairs) - len(found) < 0.02 * len(pairs)
    assert 0.7 * wrong < mended.moved <= wrong + 10


def test_unordered_and_tiny_bitexts_are_left_alone():
    pairs = sample("de")
    random.Random(1).shuffle(pairs)
    assert realign(pairs).moved == 0
    assert realign(pairs[:50]).pairs == pairs[:50]
    assert realign([]).pairs == []


def test_a_run_is_in_step_if_it_is_not_shifted_or_long_enough():
    def run(start, length, shift):
        return [(line, line + shift) for line in range(start, start + length)]

    own, short, long = run(0, 2, 0), run(20, 5, 1), run(40, 6, -2)
    assert _in_step([*own, *short, *long]) == [*own, *long]
    near, far = run(3, 3, 1), run(8, 3, 1)  # two lines without a partner are between them
    assert _in_step([*near, *far]) == [*near, *far]
    assert _in_step([*near, *run(9, 3, 1)]) == []  # three of them end a run

"""The lexicon of a bitext, or of several, without folds."""

from clir_cli.vocabulary.multilingual import induce_lexicons


def induce_lexicon(bitext, tokenizer, **chosen):
    (lexicon,) = induce_lexicons([bitext], tokenizer, **chosen)
    return lexicon


def induce_joint_lexicon(bitexts, tokenizer, **chosen):
    (lexicon,) = induce_lexicons(bitexts, tokenizer, **chosen)
    return lexicon

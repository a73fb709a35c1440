"""Quality of translations: chrF and BLEU by sacrebleu, each with the signature that names it."""

from collections.abc import Sequence
from typing import NamedTuple


class Quality(NamedTuple):
    """A score from 0 to 100 and sacrebleu's signature, by which others can compute the same."""

    score: float
    signature: str


def chrf(translations: Sequence[str], references: Sequence[str]) -> Quality:
    """Return chrF2 of translations, over the corpus, with one reference each.

    Popović, chrF: character n-gram F-score for automatic MT evaluation (WMT 2015).
    """
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF()
    score = metric.corpus_score(translations, [references]).score
    return Quality(score, metric.get_signature().format())


def bleu(translations: Sequence[str], references: Sequence[str]) -> Quality:
    """Return BLEU of translations, over the corpus, with one reference each.

    Papineni et al., BLEU (ACL 2002); tokenised and smoothed as the signature says (Post, A Call for
    Clarity in Reporting BLEU Scores, WMT 2018).
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU()
    score = metric.corpus_score(translations, [references]).score
    return Quality(score, metric.get_signature().format())

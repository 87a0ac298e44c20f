"""How many different molecules a sampler can make, from how often it made the same one twice."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log, sqrt

_NORMAL = 1.959963984540054  # the 97.5 % quantile


@dataclass(frozen=True, kw_only=True)
class Support:
    """How many different molecules there are to be drawn, from below.

    Attributes:
        valid: valid molecules of the sample.
        distinct: distinct SMILES of them, D.
        once, twice: SMILES that were drawn once, f_1, and twice, f_2.
        estimate: Chao1, D + (n - 1) / n f_1^2 / (2 f_2) (Chao 1984, Scandinavian Journal of Statistics 11, 265): a
            lower bound on average, the number itself if all are equally likely. NaN if none was drawn twice.
        low, high: its 95 % interval, log-normal in what was not drawn (Chao 1987, doi:10.2307/2531532).
    """

    valid: int
    distinct: int
    once: int
    twice: int
    estimate: float
    low: float
    high: float


def support_of(smiles: Iterable[str]) -> Support:
    """What is known of the support of the valid molecules among these, whose SMILES are not empty."""
    drawn = Counter(text for text in smiles if text)
    times = Counter(drawn.values())
    n, once, twice = sum(drawn.values()), times[1], times[2]
    estimate = low = high = float("nan")
    if twice:
        share, ratio = (n - 1) / n, once / twice
        unseen = share * once * ratio / 2
        estimate = low = high = len(drawn) + unseen
        if unseen:
            variance = twice * (share / 2 * ratio**2 + share**2 * ratio**3 + share**2 / 4 * ratio**4)
            factor = exp(_NORMAL * sqrt(log(1 + variance / unseen**2)))
            low, high = len(drawn) + unseen / factor, len(drawn) + unseen * factor
    return Support(
        valid=n, distinct=len(drawn), once=once, twice=twice, estimate=estimate, low=low, high=high
    )  # fmt: skip

"""What the papers print of data sets that they and gaga know by name."""

from collections.abc import Mapping
from typing import Literal, get_args

DEVIATIONS: Mapping[str, Mapping[str, float]] = {
    "qm9": {"positions": 1.380, "types": 0.086, "all": 0.848},
    "geom": {"positions": 2.393, "types": 0.049, "all": 0.952},
}
"""The "variances" of Qu et al. 2026 (arXiv 2507.09043) by data set and block of columns: `all` is in the paper, the
others are in the scripts that come with it. They are means over molecules of standard deviations (Å, one-hot / 4)."""
EDM_FACTORS = (1.0, 4.0, 10.0)
"""What EDM divides positions in Å, one-hot types and charges by (Hoogeboom et al. 2022, section 3)."""
Half = Literal["first", "second"]  # of QM9's training molecules: of what judges, and of what generates
HALVES: tuple[Half, ...] = get_args(Half)

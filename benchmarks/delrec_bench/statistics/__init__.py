"""Statistics of records: spread, intervals, paired comparisons."""

from delrec_bench.statistics.comparisons import (
    NOT_RESOLVED,
    SHOWN_ONLY,
    Comparison,
    compare_family,
    compare_pair,
    family_of,
    holm,
)
from delrec_bench.statistics.intervals import (
    LEVEL,
    Interval,
    Summary,
    crossed_interval,
    sample_scores,
    stacked_scores,
    summarise,
    t_interval,
)

__all__ = [
    "LEVEL",
    "NOT_RESOLVED",
    "SHOWN_ONLY",
    "Comparison",
    "Interval",
    "Summary",
    "compare_family",
    "compare_pair",
    "crossed_interval",
    "family_of",
    "holm",
    "sample_scores",
    "stacked_scores",
    "summarise",
    "t_interval",
]

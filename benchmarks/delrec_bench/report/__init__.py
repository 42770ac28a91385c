"""The report: takes a list of records and never asks where they came from."""

from .comparison import RowComparison, compare
from .findings import Findings, find
from .rows import COLUMNS, Row
from .writing import commit_report, rows_of, write_report

__all__ = ["COLUMNS", "Findings", "Row", "RowComparison", "commit_report", "compare", "find", "rows_of", "write_report"]

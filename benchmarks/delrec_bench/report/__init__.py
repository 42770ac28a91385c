"""The report: takes a list of records and never asks where they came from."""

from delrec_bench.report.comparison import RowComparison, compare
from delrec_bench.report.findings import Findings, find
from delrec_bench.report.rows import COLUMNS, Row
from delrec_bench.report.writing import commit_report, rows_of, write_report

__all__ = ["COLUMNS", "Findings", "Row", "RowComparison", "commit_report", "compare", "find", "rows_of", "write_report"]

"""Engines: ways to run a scan of neurons through time.

Each engine is a module of this folder with one function `scan`, of the signature of `delrec.engines.reference`.
"auto" takes the fastest that can run the request on the tensor's device; the variable DELREC_ENGINE overrides
"auto".
"""

from delrec.engines.registry import ENGINES, resolve, scan
from delrec.engines.state import ScanOutput, ScanState

__all__ = ["ENGINES", "ScanOutput", "ScanState", "resolve", "scan"]

"""Reports of training runs: one HTML file each, which asks no other host for anything.

``fsr report RUN`` writes one from what ``fsr train`` left in the folder, ``fsr report RUN1 RUN2``
sets runs side by side. Neither torch nor a network is loaded for it.
"""

from fsr.report._write import REPORT, compare_runs, write_report

__all__ = ["REPORT", "compare_runs", "write_report"]

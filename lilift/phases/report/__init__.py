"""`report.html`: what a run did, on one page that needs nothing else."""

from __future__ import annotations

from lilift.phases.report.page import write_report

__all__ = ["write_report"]

"""Pseudo-masks for a whole data set: a job that goes on where it stopped, with the same bytes in the end."""

from __future__ import annotations

from .job import label_dataset
from .report.summary import LabelSummary
from .stopping import JobInterrupted, JobStopped
from .truth import Sampling

__all__ = ["JobInterrupted", "JobStopped", "LabelSummary", "Sampling", "label_dataset"]

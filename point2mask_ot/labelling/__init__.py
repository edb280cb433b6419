"""Pseudo-masks for a whole data set: a job that goes on where it stopped, with the same bytes in the end."""

from __future__ import annotations

from ._errors import JobInterrupted, JobStopped
from ._job import label_dataset
from ._summary import LabelSummary
from ._truth import Sampling

__all__ = ["JobInterrupted", "JobStopped", "LabelSummary", "Sampling", "label_dataset"]

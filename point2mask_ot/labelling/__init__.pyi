from .job import label_dataset as label_dataset
from .report.summary import LabelSummary as LabelSummary
from .settings import DatasetSettings as DatasetSettings
from .settings import Sampling as Sampling
from .stopping import JobInterrupted as JobInterrupted
from .stopping import JobStopped as JobStopped

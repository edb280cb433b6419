from .config import PseudoMaskConfig as PseudoMaskConfig
from .masker import PseudoMasker as PseudoMasker
from .picture import label_picture as label_picture

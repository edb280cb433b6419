"""A page on this machine where a person clicks points on a picture and sees its pseudo-masks.

The name is imported on its first use: the command line reads settings here without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Algorithm 1: maps and points in, panoptic pseudo-masks out.

Each name is imported on its first use: the command line reads settings here without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

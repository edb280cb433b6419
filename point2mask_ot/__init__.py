"""Optimal-transport pseudo-labelling primitives: one point per target in, panoptic pseudo-masks out.

The public names are listed once, in ``__init__.pyi``; each is imported on its first use (PEP 562), so that
``import point2mask_ot`` costs nothing. No module shares its name with a public function: importing a submodule
binds its name on the package, and the function would vanish behind the module.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]

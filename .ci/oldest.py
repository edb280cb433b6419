"""Print the lowest version that pyproject.toml admits of each package that the library and its examples need, for pip.

What only `make docs` and the tools of development need is left out: those bounds bind nobody.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
for asked in sum((extras[name] for name in sorted(extras.keys() - {"dev", "docs"})), project["dependencies"]):
    name, bound = re.match(r"([\w-]+)[^=]*==?([\w.]+)", asked).groups()
    print(f"{name}=={bound}")

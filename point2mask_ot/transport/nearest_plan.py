"""The plan of near costs, which is made when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import Restore
from ..nearest import NearestCosts
from .checks import as_pairs


@dataclass(frozen=True, eq=False)
class NearestPlan:
    """What the plan of near costs is made from when it is first read."""

    costs: NearestCosts
    f: np.ndarray
    g: np.ndarray
    reg: float
    restore: Restore
    potentials: Any = None
    """f as a tensor with a gradient, where it has one."""

    def is_cut_off(self) -> bool:
        """The plan never has a gradient."""
        return False

    def log_share(self, pixels: Any, suppliers: Any) -> Any:
        """See :meth:`~point2mask_ot.TransportResult.log_share`."""
        import torch

        from .nearest_gradient import near_log_shares

        costs, f = self.costs, torch.from_numpy(self.f) if self.potentials is None else self.potentials
        at, who = as_pairs("log_share", pixels, suppliers, (costs.num_suppliers, costs.num_pixels), None)
        return self.restore(near_log_shares(costs, f, self.reg, at[0], who[0]))

    def __call__(self) -> Any:
        """(K, N) scipy.sparse.csr_array, float64."""
        from scipy.sparse import coo_array

        costs, pixel = self.costs, self.costs.pixel_of_entries()
        entry, lane = np.nonzero((pixel >= 0) & (costs.cost < np.inf))
        supplier, pixel = costs.supplier[entry], pixel[entry, lane]
        mass = np.exp((self.f[supplier] - costs.cost[entry, lane] + self.g[pixel]) / self.reg)
        moved = mass > 0
        shape = (costs.num_suppliers, costs.num_pixels)
        return coo_array((mass[moved], (supplier[moved], pixel[moved])), shape).tocsr()

    def restored(self, restore: Restore) -> NearestPlan:
        """The same for a caller of another family; the plan itself is of none."""
        return replace(self, restore=restore)

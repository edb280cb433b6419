"""Exact shortest paths from annotated points over the 8-connected pixel graph.

The cost from a point to a pixel is the smallest sum of edge costs over all paths between them (the geodesic cost
of Eq. 2-3), computed as Dijkstra's algorithm defines it: no raster-scan approximation.
"""

from .distances import Partition, geodesic_distances, nearest_partition
from .nearest import NearestTargets, nearest_targets
from .paths import shortest_path

__all__ = [
    "NearestTargets",
    "Partition",
    "geodesic_distances",
    "nearest_partition",
    "nearest_targets",
    "shortest_path",
]

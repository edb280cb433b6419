"""Shortest paths by compiled code: tiles and sweeps in vectors, a radix heap, walks along tight edges."""

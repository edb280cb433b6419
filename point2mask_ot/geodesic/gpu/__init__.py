"""Shortest paths by one Triton kernel."""

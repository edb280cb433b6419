"""Passes over the costs by Triton kernels."""

"""Passes over the costs by compiled code."""

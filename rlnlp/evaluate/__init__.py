"""Measuring policies, and reporting the results."""

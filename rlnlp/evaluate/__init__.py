"""Measuring policies, and telling what came of it."""

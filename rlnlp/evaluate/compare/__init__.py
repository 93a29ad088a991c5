"""Runs beside each other: what differs in their settings, and what of it made a difference."""

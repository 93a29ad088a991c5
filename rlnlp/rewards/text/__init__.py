"""Rewards computed from text, one per file."""

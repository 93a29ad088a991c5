"""Reward terms, and their weighted sum."""

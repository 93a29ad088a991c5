"""Rewards that use a model."""

"""Rewards that ask a model."""

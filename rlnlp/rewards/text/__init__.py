"""Rewards that read text: one idea a file."""

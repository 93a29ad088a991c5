"""Prompts and texts: data files, and the seeded order in which their rows are used."""

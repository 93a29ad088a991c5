"""Prompts, texts and judged answers: data files, and the seeded order in which their rows are used."""

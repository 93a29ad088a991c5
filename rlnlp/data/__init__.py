"""Prompts and texts: files in, seeded orders of rows out."""

"""Judging in the terminal: keys, the screen, and the questions one after the other."""

"""The embedded language and data, and how they are made."""

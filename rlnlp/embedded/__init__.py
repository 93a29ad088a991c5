"""The embedded language and data sets, and how they are made."""

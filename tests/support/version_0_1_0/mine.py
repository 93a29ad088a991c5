"""A reward function of the user's."""


def short(completions):
    """1 for an empty text, less for a longer one."""
    return [1 / (1 + len(text)) for text in completions]

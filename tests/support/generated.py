"""Generated cases for the maths of tokens: masks that are ragged and have holes, numbers that are exact in binary."""

import torch
from hypothesis import settings
from hypothesis import strategies as st

# Multiples of 1 / 64: numbers that are not equal are far apart, beside any tolerance.
NUMBERS = st.integers(-256, 256).map(lambda n: n / 64)
MANY = settings(max_examples=60, deadline=None)


@st.composite
def cases(draw, matrices):
    """A mask (B, T) with a True place in each row, and ``matrices`` matrices of its shape, as nested lists."""
    width = draw(st.integers(1, 6))
    row = st.lists(st.booleans(), min_size=width, max_size=width).filter(any)
    mask = draw(st.lists(row, min_size=1, max_size=4))
    numbers = st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=len(mask), max_size=len(mask))
    return mask, *(draw(numbers) for _ in range(matrices))


def tensors(case):
    """The same as tensors: bool, then float64."""
    mask, *numbers = case
    return torch.tensor(mask), *(torch.tensor(x, dtype=torch.float64) for x in numbers)

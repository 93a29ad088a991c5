"""Train language models with reinforcement learning from the shell."""

import time

__version__ = "0.2.0"
STARTED = time.monotonic()  # when the process began its work, for the seconds that a run reports

"""What each process of the tests would compute for itself, once for all that are forked from the one that imports it.

Settings read from conf/, the patterns by which transformers renames weights: a quarter of the time of a small run.
"""

import gc
import io
import tempfile
from contextlib import redirect_stderr
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from rlnlp.config.differing import usual_settings
from rlnlp.config.schema import RUNS
from support import small

for algo in RUNS:
    usual_settings(algo)
with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(), redirect_stderr(io.StringIO()):
    AutoModelForCausalLM.from_pretrained(small.save_model(Path(folder)))
gc.collect()
gc.freeze()  # the children collect what they make, not the hundred thousands of things that were imported

"""AdamW with moments of 8 bits, by bitsandbytes."""

import logging
from typing import Any

import torch

BLOCK, SMALLEST = 256, 4096  # values that share a scale; tensors of fewer elements have moments in float32
MAPS = {"qmap1": "dynamic", "qmap2": "udynamic"}  # from a byte to a value, the same for all weights


def adamw_8bit(groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    """AdamW whose two moments take a byte each, in blocks with a scale of their own; 2 bytes a weight instead of 8.

    Dettmers et al. 2022 (arXiv:2110.02861), section 2: dynamic quantization by blocks.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of kernels for other purposes
    from bitsandbytes.optim import AdamW8bit

    class Stored(AdamW8bit):  # type: ignore[misc]  # bitsandbytes has no types
        """The same, with a state of tensors alone, as a checkpoint takes it, and without the maps that all share."""

        def state_dict(self) -> dict[str, Any]:
            state = torch.optim.Optimizer.state_dict(self)
            held = {
                i: {k: v for k, v in values.items() if k not in MAPS} | {"step": torch.tensor(values["step"])}
                for i, values in state["state"].items()
            }
            return {**state, "state": held}

        def load_state_dict(self, state_dict: dict[str, Any], move_to_device: bool = True) -> None:
            held = {i: {**values, "step": int(values["step"])} for i, values in state_dict["state"].items()}
            super().load_state_dict({**state_dict, "state": held}, move_to_device)
            for weights, values in self.state.items():
                if values["state1"].dtype == torch.uint8:
                    values |= {key: self.name2qmap[name].to(weights.device) for key, name in MAPS.items()}

    made: torch.optim.Optimizer = Stored(groups, lr=lr, min_8bit_size=SMALLEST)
    return made


def moment_bytes(weights: torch.Tensor) -> int:
    """Bytes of the two moments of ``weights``, scales included."""
    count = weights.numel()
    return 2 * (4 * count if count < SMALLEST else count + 4 * -(-count // BLOCK))

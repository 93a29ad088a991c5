"""What the rounds of an RLHF run came to: pictures, the report at its end, and what they show in words."""

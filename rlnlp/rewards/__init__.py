"""What is rewarded: one idea a file, and the weighted sum of them."""

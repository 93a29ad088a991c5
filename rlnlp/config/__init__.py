"""Settings: declared once, composed by Hydra, checked, and what may change of them."""

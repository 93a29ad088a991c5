"""Language models as policies, and what is built on them."""

"""The page on which people judge, in their browser: what is served, to whom, and what is refused."""

"""``rlnlp explain``: what a setting, a reward term or a metric means."""

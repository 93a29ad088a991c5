"""Trackers: a process beside the run reads its metrics.jsonl and hands them on. Nothing of the run waits for it."""

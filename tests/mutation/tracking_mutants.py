"""Mistakes in what trackers are given: steps twice, steps lost, a package that is none."""

TRACKING = "run/test_tracking"

MISSING = f"{TRACKING}::test_a_missing_package_is_told_with_the_extra_and_a_folder_of_its_name_is_none"

GROUPS = [
    (
        "run/tracking/follow.py", (TRACKING,),
        [
            ("the last step twice", "if row.step > tracker.last_step]", "if row.step >= tracker.last_step]"),
            (
                "steps lost after a failure",
                "self._tracker, self._steps = None, NewSteps(self.directory)", "self._tracker = None",
            ),
            (
                "what another tracker was sent",
                'int(record["step"]) if record["tracker"] == self.request.tracker else 0', 'int(record["step"])',
            ),
            ("each failure is told", "if kind not in self._told:", "if True:"),
            ("the same pause for ever", "RETRIES[min(self._failures, len(RETRIES)) - 1]", "RETRIES[0]"),
            ("a sweep is the folder", 'sweep.name if sweep else ""', "self.directory.parent.name"),
        ],
    ),
    (
        "run/tracking/rows.py", (TRACKING,),
        [
            ("a torn line", 'if not line.endswith(b"\\n"):', "if not line:"),
            ("a step before its time", 'if last or row["step"] in self._times]', "if row]"),
        ],
    ),
    (
        "run/tracking/tracker.py", (TRACKING,),
        [
            ("a folder is a package", "(spec is None or spec.origin is None)", "spec is None"),
            ("intervals are lost", 'name.endswith("interval")', 'name.endswith("intervals")'),
        ],
    ),
    (
        "commands/preflight.py", (MISSING,),
        [("a missing tracker is told too late", 'if "tracker" in groups:', 'if "trackers" in groups:')],
    ),
]  # fmt: skip

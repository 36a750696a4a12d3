# SPDX-License-Identifier: MIT
"""What benchmarks say of their samples is true: a damaged row is found, and of two
builds a slower one is named, one that only looks so is not."""

import copy
import os
import random
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import bench  # noqa: E402
from bench_rows import FIELDS, faults_of, make_row  # noqa: E402
from benchlib import Sample  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = sys.argv.pop()


def good_row():
    samples = {who: [Sample(scale * value, 0.5, 1000 * scale)
                     for value in (3.0, 1.0, 2.0)]
               for who, scale in (("ours", 1), ("qemu", 4), ("raw", 2))}
    return make_row("run", "read", "seconds", samples, wanted=2, wanted_raw=1,
                    raw_is="pread", also=[("one", 1.5, 1.2)])


def lines_of(*changes):
    """A pair of builds as compare sees it: (name, how much longer the second takes,
    noise of each sample)."""
    chance = random.Random(1)
    return [{"program": "run", "job": name, "unit": "seconds", "samples": {
        who: [scale * (1 + noise * chance.random()) for _ in range(15)]
        for who, scale in (("ours", 1), ("other", factor))}}
            for name, factor, noise in changes]


class Rows(unittest.TestCase):

    def test_a_good_row(self):
        row = good_row()
        self.assertEqual(faults_of([row]), [])
        self.assertEqual((row["ratio"], row["ratio_raw"], row["reached"],
                          row["memory_kept"]), (4.0, 2.0, True, True))

    def test_a_damaged_row_is_found(self):
        damages = {"ours": 9.0, "qemu": None, "raw": 1.0, "ratio": 5.0,
                   "ratio_raw": 1.0, "reached": False, "memory_kept": False,
                   "unit": "parsecs", "raw_is": "", "runs": 2, "note": None,
                   "wanted": "much", "wanted_raw": -1, "peak_ours": -5,
                   "peak_qemu": 3, "cpu_ours": float("nan"), "program": "",
                   "cpu_qemu": "little", "cpu_raw": -1, "job": "",
                   "also": [{"to": "one", "ratio": None, "wanted": 1}],
                   "spread": {}}
        self.assertEqual(set(damages), FIELDS)
        for field, value in damages.items():
            row = copy.deepcopy(good_row())
            row[field] = value
            self.assertTrue(faults_of([row]), field)
            del row[field]
            self.assertTrue(faults_of([row]), field)
        row = good_row()
        row["spread"]["ours"]["all"][1] = 1.1
        self.assertTrue(faults_of([row]))
        self.assertTrue(faults_of([good_row(), good_row()]))


class Compare(unittest.TestCase):

    def test_what_is_slower_is_named(self):
        found = bench.differences(lines_of(
            ("same", 1, 0.1), ("slower", 1.05, 0.03), ("faster", 0.9, 0.05),
            ("noise", 1.01, 0.3)))
        self.assertEqual([d.is_slower() for d in found],
                         [False, True, False, False])
        self.assertEqual([d.text().split()[-1] for d in found],
                         ["shown", "slower", "faster", "shown"])

    def test_noise_alone_names_nobody(self):
        found = bench.differences(lines_of(
            *((str(i), 1, 0.2) for i in range(60))))
        self.assertFalse(any(d.is_shown for d in found))

    def test_two_builds(self):
        """The same build, and too few turns to tell."""
        with tempfile.TemporaryDirectory(prefix="qcowfmt-bench-") as fresh:
            report = os.path.join(fresh, "report")
            done = subprocess.run(
                [sys.executable, os.path.join(HERE, "bench.py"), "compare",
                 BUILD, BUILD, "--smoke", "--only", "map", "--only",
                 "memory of", "--json", report, "--dir", fresh], text=True,
                capture_output=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
            self.assertTrue(os.path.exists(report))
        self.assertIn("metadata: map ", done.stdout)
        self.assertIn("no difference shown", done.stdout)
        self.assertIn("requests: memory of", done.stdout)


if __name__ == "__main__":
    unittest.main()

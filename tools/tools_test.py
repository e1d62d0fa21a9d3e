#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the tools that count and judge: a checker that cannot fail checks nothing.

The last line is `N passed, N failed`.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import check
import run_tests
import symbols

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Counting(unittest.TestCase):
    def test_cmocka_results_are_added_and_skipped_is_failed(self):
        text = ("[  PASSED  ] 3 test(s).\n[  SKIPPED ] 1 test(s), listed below:\n"
                "[  SKIPPED ] test_a\n[  FAILED  ] 2 test(s), listed below:\n"
                "[  FAILED  ] test_b\n[  FAILED  ] test_c\n")
        self.assertEqual(run_tests.count(text, 2), (3, 3))

    def test_two_groups_of_cmocka_are_added(self):
        text = "[  PASSED  ] 3 test(s).\n[  PASSED  ] 4 test(s).\n"
        self.assertEqual(run_tests.count(text, 0), (7, 0))

    def test_a_crash_after_good_results_fails(self):
        self.assertEqual(run_tests.count("[  PASSED  ] 3 test(s).\n", -11), (3, 1))

    def test_a_silent_program_is_one_test(self):
        self.assertEqual(run_tests.count("", 0), (1, 0))
        self.assertEqual(run_tests.count("", 1), (0, 1))

    def test_no_test_at_all_fails(self):
        self.assertEqual(run_tests.count("0 passed, 0 failed\n", 0), (0, 1))
        self.assertEqual(check.count("0 passed, 0 failed\n", 0, True), (0, 1))

    def test_a_step_that_should_count_and_does_not_fails(self):
        self.assertEqual(check.count("all is well\n", 0, True), (0, 1))
        self.assertEqual(check.count("all is well\n", 0, False), (1, 0))

    def test_a_step_that_dies_fails_whatever_it_printed(self):
        self.assertEqual(check.count("9 passed, 0 failed\n", 2, True), (9, 1))
        self.assertEqual(check.count("9 passed, 0 failed\n", None, True), (9, 1))

    def test_the_last_sum_of_a_step_counts(self):
        text = "9 passed, 0 failed\nx\n8 passed, 1 failed\n"
        self.assertEqual(check.count(text, 1, True), (8, 1))


class Running(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def run_script(self, text, *arguments):
        script = pathlib.Path(self.folder, "t.sh")
        script.write_text(text, encoding="utf-8")
        return subprocess.run([sys.executable, str(ROOT / "tools/run_tests.py"), *arguments,
                               str(script)], capture_output=True, text=True, check=False)

    def test_a_program_that_hangs_is_ended_with_its_children(self):
        done = self.run_script("sleep 50 & sleep 50\n", "--timeout", "0.5")
        self.assertEqual(done.returncode, 1)
        self.assertIn("TIMEOUT", done.stdout)
        self.assertTrue(done.stdout.endswith("0 passed, 1 failed\n"))

    def test_output_is_shown_only_on_failure(self):
        self.assertNotIn("hello", self.run_script("echo hello\n").stdout)
        self.assertIn("hello", self.run_script("echo hello; exit 1\n").stdout)

    def test_a_program_runs_under_another(self):
        done = self.run_script("echo $MARK; exit 1\n", "--under", "env MARK=here bash")
        self.assertIn("here\n", done.stdout)

    def test_each_program_has_a_folder_that_vanishes(self):
        done = self.run_script("echo $TMPDIR; touch $TMPDIR/x; exit 1\n")
        self.assertFalse(pathlib.Path(done.stdout.splitlines()[0]).exists())


class Installing(unittest.TestCase):
    def run_deps(self, target, **programs):
        """tools/deps.sh on a machine that has these programs only."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in programs.items():
                path = pathlib.Path(folder, name.replace("_", "-"))
                path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
                path.chmod(0o755)
            return subprocess.run(["/bin/sh", str(ROOT / "tools/deps.sh"), target],
                                  env={"PATH": folder}, capture_output=True, text=True, check=False)

    def test_without_rights_the_command_is_printed(self):
        done = self.run_deps("demo", id="echo 1000", apt_get="exit 0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("sudo apt-get install -y --no-install-recommends gcc", done.stderr)

    def test_without_apt_the_packages_are_named(self):
        done = self.run_deps("check", id="echo 0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("libcmocka-dev", done.stderr)

    def test_a_check_wants_a_cross_compiler_but_on_arm64(self):
        for machine, wanted in (("x86_64", True), ("aarch64", False)):
            done = self.run_deps("check", id="echo 0", uname=f"echo {machine}")
            self.assertEqual("gcc-aarch64-linux-gnu" in done.stderr, wanted, done.stderr)
            self.assertEqual("qemu-user" in done.stderr, wanted, done.stderr)

    def test_an_unknown_target_is_refused(self):
        self.assertEqual(self.run_deps("frob").returncode, 2)


class Joining(unittest.TestCase):
    def generate(self, **files):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("include", "lib/base", "amalgamation"):
                pathlib.Path(folder, name).mkdir(parents=True)
            shutil.copy(ROOT / "amalgamation/gen.py", pathlib.Path(folder, "amalgamation"))
            files = {"include/pv.h": '#define PV_VERSION_STRING "1.2.3"\n',
                     "include/pv_unstable.h": "", "lib/sources.txt": "base/a.c\n",
                     "lib/base/h.h": "int h;\n"} | files
            for name, text in files.items():
                pathlib.Path(folder, name).write_text(text, encoding="utf-8")
            done = subprocess.run([sys.executable, "amalgamation/gen.py", "out"], cwd=folder,
                                  capture_output=True, text=True, check=False)
            out = pathlib.Path(folder, "out/pv.c")
            return done, out.read_text(encoding="utf-8") if out.exists() else ""

    def test_a_header_is_written_once(self):
        done, text = self.generate(**{"lib/base/a.c": '#include "base/h.h"\n#include "base/h.h"\n'})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(text.count("int h;"), 1)
        self.assertIn('/* #include "base/h.h" */', text)
        self.assertIn("Piramid 1.2.3", text)

    def test_a_first_include_under_a_condition_is_refused(self):
        done, _ = self.generate(**{"lib/base/a.c": '#if X\n#include "base/h.h"\n#endif\n'})
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("lib/base/a.c:2", done.stderr)


class Symbols(unittest.TestCase):
    BLOCK = "/* pv_x - does it.\n * Owner: y. Threads: any. Since: 0.1 */\n"

    def found(self, block, prototype="PV_EXTERN int pv_x(int a);\n"):
        return list(symbols.documented(block + prototype, {"pv_x"}))

    def test_a_whole_block_passes(self):
        self.assertEqual(self.found(self.BLOCK), [])

    def test_what_is_missing_is_named(self):
        self.assertEqual(len(self.found("\n")), 1)
        self.assertEqual(len(self.found(self.BLOCK.replace("Since", "Seen"))), 1)
        self.assertEqual(len(self.found(self.BLOCK.replace("Threads", "Thread"))), 1)
        self.assertEqual(len(self.found(self.BLOCK.replace("pv_x", "pv_y"))), 1)
        self.assertEqual(len(self.found(self.BLOCK.replace("Owner", "By"),
                                        "PV_EXTERN const char *pv_x(void);\n")), 1)


def main():
    result = unittest.main(exit=False, verbosity=0).result
    failed = len(result.failures) + len(result.errors) + len(result.skipped)
    print(f"{result.testsRun - failed} passed, {failed} failed", flush=True)
    return 0 if failed == 0 and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())

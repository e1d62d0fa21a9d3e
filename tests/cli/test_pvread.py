#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/pvread.py, which was written from docs/format/ alone, reads what the library writes: after
a clean close, after kill -9, and it finds what was changed on disk. So the pages of docs/format/
are complete, and a change of the format that forgets them fails here.

    BUILD=build PIRAMID=build/piramid python3 tests/cli/test_pvread.py [unittest's arguments]

Needs a C compiler (CC, default cc) for make_store.c and the static library in BUILD.
"""
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile

from support import BUILD, ROOT, Case, main

sys.path.insert(0, str(ROOT / "tools"))
import pvread  # noqa: E402  pylint: disable=wrong-import-position
import xxh3  # noqa: E402  pylint: disable=wrong-import-position

SLOT = 4096
STATE = re.compile(r"^state: LSN (\d+), commit (\d+), checksum ([0-9a-f]{16}), (\d+) pages, "
                   r"(\d+) records", re.M)
# (bytes, seed, pv__hash64) of the first bytes of the sequence in test_hash
HASHES = (
    (0, 0x0, 0x2D06800538D394C2),
    (0, 0x9E3779B97F4A7C15, 0x602B0E2CD6662C8B),
    (1, 0x9E3779B97F4A7C15, 0x062B185E4E01441A),
    (2, 0x9E3779B97F4A7C15, 0xED403FCBEAB0AF48),
    (3, 0x9E3779B97F4A7C15, 0x56C3601E4220D2F8),
    (4, 0x0, 0xE5097D6D2A406DDE),
    (4, 0x9E3779B97F4A7C15, 0x6CA2794AA8A01139),
    (7, 0x9E3779B97F4A7C15, 0xF9667E50B0410870),
    (8, 0x9E3779B97F4A7C15, 0x1139FEA9DB045E7C),
    (9, 0x9E3779B97F4A7C15, 0x7E928A0D315408CA),
    (15, 0x9E3779B97F4A7C15, 0x0537DD9B897C55C9),
    (16, 0x0, 0x3E094AB84274D7E2),
    (16, 0x9E3779B97F4A7C15, 0x4E08BB14C6869176),
    (17, 0x9E3779B97F4A7C15, 0x683B47A9F93B1B37),
    (32, 0x9E3779B97F4A7C15, 0xEFBE1527F5E8F8F2),
    (33, 0x9E3779B97F4A7C15, 0xC7732311E774C299),
    (64, 0x9E3779B97F4A7C15, 0xCC8C857B8D3AFE67),
    (65, 0x9E3779B97F4A7C15, 0x4EAB83CCA3B49FA8),
    (96, 0x9E3779B97F4A7C15, 0xCA8975F6D424657C),
    (97, 0x9E3779B97F4A7C15, 0xA162992474B130C8),
    (127, 0x9E3779B97F4A7C15, 0xDB1396067145CEF1),
    (128, 0x9E3779B97F4A7C15, 0xBFE2D6164367276B),
    (129, 0x9E3779B97F4A7C15, 0xD5A8C0BBC216C4C5),
    (144, 0x9E3779B97F4A7C15, 0x368A5EA9A6180894),
    (200, 0x9E3779B97F4A7C15, 0xF610BB2573B784F4),
    (239, 0x9E3779B97F4A7C15, 0xEF8162959FDCB9F0),
    (240, 0x9E3779B97F4A7C15, 0x4D806BC726CD8C0F),
    (241, 0x9E3779B97F4A7C15, 0xCF1C0C862B0077AC),
    (255, 0x9E3779B97F4A7C15, 0xC7CE7431A31BB45E),
    (256, 0x9E3779B97F4A7C15, 0xBE26F83E6DA3D027),
    (257, 0x9E3779B97F4A7C15, 0xBA5AAF4BDDEDBF40),
    (1023, 0x9E3779B97F4A7C15, 0x53119134C04BA285),
    (1024, 0x9E3779B97F4A7C15, 0xFAD7FC575CE7DD6E),
    (1025, 0x9E3779B97F4A7C15, 0xB3F5ED8687DEFB7A),
    (4088, 0x9E3779B97F4A7C15, 0xE7BD2B946E38A543),
    (4096, 0x0, 0x4AC8C1382C1B7837),
    (4096, 0x9E3779B97F4A7C15, 0x2DDD5960405388C1),
    (16384, 0x9E3779B97F4A7C15, 0x73BE62075CE70ECB),
    (20000, 0x9E3779B97F4A7C15, 0xD930A3B7EFDC3B17),
)


def make_program(folder):
    """Compiles make_store.c with the library, with and without zstd as the library needs it."""
    out = os.path.join(folder, "make_store")
    command = [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O1", "-pthread",
               f"-I{ROOT}/include", f"-I{ROOT}/lib", str(ROOT / "tests/cli/make_store.c"),
               os.path.join(BUILD, "libpiramid.a"), "-o", out, "-lm"]
    for libraries in (["-lzstd"], []):
        done = subprocess.run(command + libraries, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return out
    raise RuntimeError(done.stderr)


class Made(Case):
    """Databases of bare pages, made by make_store.c."""

    @classmethod
    def setUpClass(cls):
        cls.tools = tempfile.TemporaryDirectory(prefix="piramid-pvread-")
        cls.addClassCleanup(cls.tools.cleanup)
        cls.program = make_program(cls.tools.name)

    def make(self, *steps):
        """Returns (LSN, commit, checksum) of the last commit."""
        done = subprocess.run([self.program, self.db, *steps], capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, -signal.SIGKILL if steps[-1] == "kill" else 0,
                         done.stderr)
        lines = done.stdout.split("\n")[:-1]
        if not lines:
            return None
        lsn, checksum, commit = lines[-1].split()
        return int(lsn), int(commit), checksum

    def read(self, *options, code=0):
        done = subprocess.run([sys.executable, str(ROOT / "tools/pvread.py"), *options, self.db],
                              capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def state(self):
        """(LSN, commit, checksum) and how many records were replayed, all verified."""
        out = self.read("--verify")
        self.assertIn("\nverified\n", out)
        lsn, commit, checksum, _, records = STATE.search(out).groups()
        return (int(lsn), int(commit), checksum), int(records)

    def flip(self, path, at):
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 0x10]))

    def segments(self):
        return sorted(pathlib.Path(self.db + "-wal").iterdir())


class AgreesWithLibrary(Made):
    def test_empty_database(self):
        self.make("open", "close")
        self.assertEqual(self.state(), ((4096, 0, "0" * 16), 0))

    def test_clean_close(self):
        want = self.make("open", "new:20:2", "noise:300:1", "change:10", "free:30", "undo:5",
                         "change:3", "close")
        self.assertEqual(self.state(), (want, 0))

    def test_killed_without_checkpoint(self):
        want = self.make("open", "new:20:2", "noise:20:3", "change:10", "free:8", "change:3",
                         "undo:5", "kill")
        self.assertEqual(self.state(), (want, 5))

    def test_killed_after_checkpoints_with_references(self):
        """300 new pages in one commit are written to slots, and the record refers to them."""
        want = self.make("open", "new:20:2", "checkpoint", "noise:10:1", "free:3", "checkpoint",
                         "noise:300:1", "change:40", "free:40", "change:2", "kill")
        self.assertIn("REF   page", self.read("--log", "--entries"))
        self.assertEqual(self.state(), (want, 4))

    def test_killed_in_first_batch_of_several_records(self):
        want = self.make("open", "async", "new:10:1", "new:3:2", "sync", "change:1", "kill")
        self.assertEqual(self.state(), (want, 3))

    def test_library_after_recovery(self):
        """What is read before the library recovers is what is there afterwards."""
        want = self.make("open", "new:20:2", "checkpoint", "async", "noise:10:1", "change:5",
                         "sync", "change:7", "kill")
        self.assertEqual(self.state()[0], want)
        self.make("open", "kill")
        self.assertEqual(self.state()[0], want)
        self.assertEqual(len(self.segments()), 2)  # the tail was copied to a new epoch
        want = self.make("open", "new:2:1", "kill")
        self.assertEqual((self.state()[0], want[1]), (want, 5))
        self.make("open", "close")
        self.assertEqual(self.state(), (want, 0))

    def test_library_after_recovery_of_first_batch(self):
        want = self.make("open", "async", "new:10:1", "new:3:2", "sync", "change:1", "kill")
        self.make("open", "close")
        self.assertEqual(self.state(), (want, 0))

    def test_several_segments(self):
        want = self.make("open", *["noise:60:1"] * 12, "change:3", "kill")
        self.assertGreater(len(self.segments()), 1)
        self.assertEqual(self.state(), (want, 13))

    def test_many_free_ids_and_a_table_of_two_levels(self):
        want = self.make("open", "new:1500:1", "free:1200", "new:100:1", "change:50", "close")
        self.assertEqual(self.state(), (want, 0))
        self.assertIn("level 1", self.read("--table"))
        self.assertRegex(self.read("--pages"), r"free list +object +0 +[23] pages")

    def test_compressed_pages(self):
        done = subprocess.run([self.program, self.db, "open:zstd", "close"], capture_output=True,
                              text=True, check=False)
        if done.returncode:
            self.assertIn("codec 'zstd' is not in this build", done.stderr)
            return
        want = self.make("open:zstd", "new:40:4", "change:11", "checkpoint", "new:10:8", "change:5",
                         "new:200:4", "kill")
        self.assertIn("1 of 4 slots, codec 1", self.read("--table"))
        self.assertEqual(self.state()[0], want)


class FindsDamage(Made):
    def test_any_page_or_node(self):
        self.make("open", "new:20:2", "noise:40:1", "change:10", "close")
        table = self.read("--table")
        places = [(int(m[1]), m[0]) for m in re.finditer(r"^(?:node|page) .*?slot (\d+),", table,
                                                         re.M)]
        self.assertGreater(len(places), 60)
        rng = random.Random(5)
        for slot, what in rng.sample(places, 12) + [places[0]]:
            at = slot * SLOT + rng.randrange(SLOT)
            self.flip(self.db, at)
            self.assertIn("DAMAGED", self.read("--verify", code=1), f"{what} at byte {at}")
            self.flip(self.db, at)
        self.state()

    def test_each_superblock_copy(self):
        self.make("open", "new:3:1", "close")
        for slot in (0, 1, 16, 17):
            self.flip(self.db, slot * SLOT + 100)
            out = self.read("--verify", code=1)
            self.assertIn(f"DAMAGED superblock in slot {slot}: not valid", out)
            self.flip(self.db, slot * SLOT + 100)
        self.state()

    def test_record_that_a_later_one_proves(self):
        self.make("open", "new:5:1", "change:5", "change:5", "change:5", "kill")
        out = self.read("--log")
        starts = [int(x) for x in re.findall(r"^record at (\d+)", out, re.M)]
        self.assertEqual(len(starts), 4)
        for lsn in starts[:3]:
            for inside in (20, 130):
                self.flip(self.segments()[0], lsn + inside)  # LSN 4096 lies at byte 4096
                self.assertIn(f"DAMAGED the record after LSN", self.read("--verify", code=1))
                self.flip(self.segments()[0], lsn + inside)
        self.state()

    def test_last_record_damaged_is_a_torn_tail(self):
        self.make("open", "new:5:1", "change:5", "change:5", "kill")
        last = int(re.findall(r"^record at (\d+)", self.read("--log"), re.M)[-1])
        self.flip(self.segments()[0], last + 130)
        (_, commit, _), records = self.state()
        self.assertEqual((commit, records), (2, 2))

    def test_head_of_a_segment_with_records(self):
        self.make("open", *["noise:60:1"] * 12, "kill")
        self.flip(self.segments()[-1], 100)
        self.assertIn("DAMAGED the record after LSN", self.read("--verify", code=1))

    def test_missing_log(self):
        self.make("open", "new:5:1", "kill")
        for path in self.segments():
            path.unlink()
        self.read("--verify", code=2)

    def test_not_a_database(self):
        self.write("t.pv", b"x" * 3 * SLOT)
        self.read(code=2)


class Cli(Case):
    def test_collection_of_the_command_line(self):
        self.small()
        done = subprocess.run([sys.executable, str(ROOT / "tools/pvread.py"), "--verify", "--pages",
                               self.db], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for kind in ("collection", "tree", "column"):
            self.assertIn(kind, done.stdout)


class Hash(Case):
    def test_hash_is_the_library_s(self):
        data = bytes((i * i * 31 + i * 7 + (i >> 8)) & 255 for i in range(20000))
        for size, seed, want in HASHES:
            self.assertEqual(xxh3.hash64_python(data[:size], seed), want, size)
            self.assertEqual(xxh3.hash64(data[:size], seed), want, size)

    def test_mix(self):
        self.assertEqual(pvread.mix(0), 0)
        self.assertEqual(pvread.mix(0x9E3779B97F4A7C15), 0xE220A8397B1DCDAF)  # splitmix64(0)


if __name__ == "__main__":
    sys.exit(main())

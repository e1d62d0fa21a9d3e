# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C ends long calls with KeyboardInterrupt and leaves the database as it was."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

import piramiddb

PROGRAM = """
    import signal, sys, threading, time, numpy as np, piramiddb
    what, path = sys.argv[1:]
    # Whoever began this in the background may have had it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = np.random.default_rng(1)
    db = piramiddb.open(path, sync="async", busy_timeout=300)
    # Where records are there before, no graph: building it would take longer than the test.
    docs = db.collection("docs", dims=64, key="int", index="auto" if what == "insert" else "flat")
    if what != "insert":
        docs.insert(np.arange(60_000), rng.standard_normal((60_000, 64), np.float32),
                    [{"n": i} for i in range(60_000)])
    before = db.stats().db_checksum
    queries = rng.standard_normal((30_000, 64), np.float32)
    def endless(rows):
        while True:
            yield from rows
    class Rows:  # one large batch without the memory for it
        pass
    big = np.broadcast_to(np.float32(1), (2_000_000, 64))
    calls = {
        "search_many": lambda: docs.search_many(queries, k=100),
        "insert": lambda: docs.insert(np.arange(2_000_000), big),
        "upsert_in_transaction": lambda: upsert_in_transaction(),
        "delete_where": lambda: [docs.count({"n": {"$gte": -i}}) for i in range(10**9)],
        "check": lambda: [db.check(deep=True) for i in range(10**9)],
        "walk": lambda: [len(list(docs.iterate(filter={"n": -1}))) for i in range(10**9)],
        "writer": lambda: wait_for_writer(),
    }
    def upsert_in_transaction():
        with db.transaction() as tx:
            tx.collection(docs).upsert(np.arange(2_000_000), big)
    def wait_for_writer():
        begun = threading.Event()
        def hold():
            tx = db.transaction()
            begun.set()
            release.wait()
            tx.rollback()
        threading.Thread(target=hold).start()
        begun.wait()
        db.transaction()
    release = threading.Event()
    print("ready", flush=True)
    try:
        calls[what]()
        print("it ended by itself")
    except KeyboardInterrupt:
        release.set()
        print("interrupted")
    if what != "writer":
        assert db.stats().db_checksum == before, "something was left"
    else:
        while threading.active_count() > 1:
            time.sleep(0.01)
    assert docs.count() == (0 if what == "insert" else 60_000)
    docs.insert(10**9, np.ones(64))
    db.close()
    print("done")
"""


@pytest.mark.parametrize("what", ["search_many", "insert", "upsert_in_transaction",
                                  "delete_where", "check", "walk", "writer"])
def test_ctrl_c(path, what):
    program = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM), what, str(path)],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               start_new_session=True)
    try:
        assert program.stdout.readline() == "ready\n", program.stdout.read()
        with pytest.raises(subprocess.TimeoutExpired):  # it is in the call by then
            program.wait(0.4)
        os.kill(program.pid, signal.SIGINT)
        out = program.communicate(timeout=60)[0]
    finally:
        if program.poll() is None:
            program.kill()
            program.wait()
    assert program.returncode == 0, out
    assert out.splitlines() == ["interrupted", "done"], out
    with piramiddb.open(path) as db:
        assert db.check(deep=True) == []


def test_a_handler_that_does_not_raise_lets_the_call_go_on(path):
    source = """
        import signal, sys, numpy as np, piramiddb
        seen = []
        signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        db = piramiddb.open(sys.argv[1])
        docs = db.collection("docs", dims=32, key="int", index="flat")
        rng = np.random.default_rng(1)
        docs.insert(np.arange(20_000), rng.standard_normal((20_000, 32), np.float32))
        inside = 0
        while inside < 3:
            before = len(seen)
            answers = docs.search_many(rng.standard_normal((4000, 32), np.float32), k=3)
            assert len(answers) == 4000
            inside += len(seen) > before
        db.close()
        print("handled")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(source), str(path)],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "handled\n", done.stderr

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Opening after a kill and after a clean close, and memory with a cache much smaller than the file,
where every answer is compared with a model.

Each step is a process of its own (bench_open.c). The system's page cache is dropped before an open
where that is permitted, otherwise the files are taken out of it by advice.
"""
import os
import signal
import sys

from common import arguments, folder, program, run, values, verdict


def main():
    args = arguments(__doc__, {"kill_rows": (400000, 6000000), "log": (128, 1024),
                               "memory_rows": (120000, 640000), "memory_cache": (64, 64),
                               "gets": (2000, 10000), "sparse": (20, 20)})
    tool = program(args, "bench_open")
    with folder(args) as where:
        print("---- open after kill -9")
        made = values(run([tool, "kill", where, str(args.kill_rows), str(args.log)],
                          expect=-signal.SIGKILL))
        if args.long:
            verdict("pages that the log touches", made["kill.pages_touched"], 100000, True, "")
        out = values(run([tool, "open", where]))
        verdict(f"open with {out['open.log']:.0f} MiB of log", out["open.open"], 10, False, " s")
        print("---- clean open")
        out = values(run([tool, "open", where]))
        verdict(f"clean open of {out['open.file']:.0f} MiB", out["open.open"], 0.1, False, " s")
        print("---- clean open of a sparse file")
        os.truncate(os.path.join(where, "bench-open.pv"), args.sparse << 30)
        out = values(run([tool, "open", where]))
        verdict(f"clean open of {out['open.file']:.0f} MiB, sparse", out["open.open"], 0.1, False,
                " s")
        run([tool, "clean", where])
        print(f"---- {args.memory_cache} MiB of cache")
        run([tool, "make", where, str(args.memory_rows), "768"])
        out = values(run([tool, "open", where]))
        verdict(f"clean open of {out['open.file']:.0f} MiB", out["open.open"], 0.1, False, " s")
        out = values(run([tool, "memory", where, str(args.memory_cache), str(args.gets)]))
        verdict("memory: peak of the database to its budget", out["memory.peak_to_budget"], 1.05,
                False)
        run([tool, "clean", where])


if __name__ == "__main__":
    sys.exit(main())

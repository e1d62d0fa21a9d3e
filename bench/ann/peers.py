# SPDX-License-Identifier: Apache-2.0
"""The protocol of ann.h for peers that are reached from Python: see there for what a row says.

An adapter is a class with

    name, modules            its name, and the packages whose versions are printed
    build(job, base, path)   make the index and write it; returns nothing, calls job.built() when
                             the index can be searched and only its file is missing
    load(job, path)          open it in a fresh process
    ef(n)                    set what `ef` stands for
    many(queries)            ids of the 10 nearest, -1 where there is none, as an array; one thread
    one(query)               the same for one query, as a program would call it

qps is that of many(): where the peer has a call for many queries it runs on one thread, so that
Python's own time does not count against it. Where it has none (`looped` is true) many() is a loop,
and its time has Python's in it. p50 and p99 are those of one(). `queries`, where an adapter has it,
is how many are asked of a slow peer.
"""
import argparse
import importlib.metadata
import os
import pathlib
import shutil
import statistics
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import data  # noqa: E402

import numpy as np  # noqa: E402

K = 10
HEADING = ("name,params,build_s,build_threads,mem_mb,file_mb,ef,recall10,qps,p50_us,p99_us,"
           "idrecall10")
OWN = ("ef", "st", "rep", "clock", "until")


def refuse(why):
    """This peer cannot do what is asked."""
    print(f"{sys.argv[0]}: {why}", file=sys.stderr)
    sys.exit(3)


class Job:
    def __init__(self, args):
        self.metric, self.threads = args.metric, args.threads
        self.params = dict(item.split("=", 1) for item in args.params.split(",") if item)
        self.base_path = args.base
        self.cpu = self.text("clock", "wall") == "cpu"
        self.rows, self.dims = 0, 0
        self.begun = self.done = None

    def text(self, key, otherwise):
        return self.params.get(key, otherwise)

    def number(self, key, otherwise):
        return int(self.params.get(key, otherwise))

    def now(self):
        """Seconds of all threads with clock=cpu, else of the wall."""
        return time.process_time() if self.cpu else time.perf_counter()

    def built(self):
        self.done = self.now()

    def base(self):
        """The floats, of unit length for cosine."""
        found = data.read_vecs(self.base_path)
        return unit(found) if self.metric == "cos" else found


def unit(rows):
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, size, out=np.zeros_like(rows), where=size > 0)


# ---- the machine ---------------------------------------------------------------------------------

def anonymous():
    words = dict(line.split(":", 1) for line in open("/proc/self/status", encoding="ascii"))
    return sum(int(words[key].split()[0]) * 1024 for key in ("RssAnon", "RssShmem"))


def files_of(path):
    path = pathlib.Path(path)
    return [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]


def forget(path):
    for p in files_of(path):
        fd = os.open(p, os.O_RDONLY)
        os.fdatasync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def resident(path):
    """Bytes of the files in the page cache."""
    import ctypes
    import mmap
    libc = ctypes.CDLL(None, use_errno=True)
    total = 0
    for p in files_of(path):
        size = p.stat().st_size
        if not size:
            continue
        with open(p, "rb") as f, mmap.mmap(f.fileno(), size, mmap.MAP_SHARED,
                                           mmap.PROT_READ) as m:
            view = np.frombuffer(m, dtype=np.uint8)
            flags = np.zeros(-(-size // mmap.PAGESIZE), dtype=np.uint8)
            if libc.mincore(ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(size),
                            ctypes.c_void_p(flags.ctypes.data)) == 0:
                total += int((flags & 1).sum()) * mmap.PAGESIZE
            del view
    return total


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    for p in (path, path + ".build"):
        if os.path.exists(p):
            os.unlink(p)


# ---- judging -------------------------------------------------------------------------------------

def judge(metric, base, query, truth, answers):
    """(recall by distance, recall by id), as in ann_judge.c."""
    near = same = 0
    for q, true, found in zip(query, truth, answers):
        limit = data.distances(metric, q, base[true[:K]]).max()
        limit += abs(limit) * 1e-5
        found = np.unique(found[(found >= 0) & (found < len(base))])
        near += int((data.distances(metric, q, base[found]) <= limit).sum())
        same += len(np.intersect1d(found, true[:K]))
    return near / (len(query) * K), same / (len(query) * K)


def mapped(path):
    raw = np.memmap(path, dtype=np.float32, mode="r")
    return raw.reshape(-1, int(raw[:1].view(np.int32)[0]) + 1)[:, 1:]


# ---- the flow ------------------------------------------------------------------------------------

def versions(adapter):
    return " ".join(f"{m} {importlib.metadata.version(m)}" for m in adapter.modules)


def build(adapter, job, path):
    base = job.base()
    job.rows, job.dims = base.shape
    job.begun = job.now()
    adapter.build(job, base, path)
    seconds = (job.done or job.now()) - job.begun
    pathlib.Path(path + ".build").write_text(f"{seconds:.3f} {job.threads}\n")


def search(adapter, job, args):
    path = args.load
    query = data.read_vecs(args.query)[:getattr(adapter, "queries", None)]
    asked = unit(query) if job.metric == "cos" else query
    efs = [int(x) for x in job.text("ef", "10:20:40:80:160").split(":")]
    truth = data.read_vecs(args.gt, np.int32)
    seconds, threads = pathlib.Path(path + ".build").read_text().split()[:2]
    before = anonymous()
    adapter.load(job, path)
    adapter.ef(efs[len(efs) // 2])
    adapter.many(asked)
    forget(path)
    adapter.many(asked)
    memory = max(0, anonymous() - before) + resident(path)
    size = sum(p.stat().st_size for p in files_of(path))
    base = mapped(args.base)
    shown = " ".join(f"{k}={v}" for k, v in job.params.items() if k not in OWN)
    for ef in efs:
        adapter.ef(ef)
        answers = np.asarray(adapter.many(asked))
        rates, walls = [], []
        for _ in range(job.number("rep", 3)):
            start = job.now()
            adapter.many(asked)
            rates.append(len(asked) / (job.now() - start))
        for q in asked[:500]:
            start = time.perf_counter()
            adapter.one(q)
            walls.append((time.perf_counter() - start) * 1e6)
        recall, by_id = judge(job.metric, base, query, truth, answers)
        print(f"{adapter.name},{shown},{float(seconds):.2f},{threads},{memory / 1e6:.1f},"
              f"{size / 1e6:.1f},{ef},{recall:.5f},{statistics.median(rates):.1f},"
              f"{np.percentile(walls, 50):.1f},{np.percentile(walls, 99):.1f},{by_id:.5f}",
              file=args.out, flush=True)
        if recall >= float(job.text("until", "2")):
            break


def main(adapter):
    args = argparse.ArgumentParser(description=adapter.__doc__)
    for key in ("base", "query", "gt"):
        args.add_argument(f"--{key}", required=True)
    args.add_argument("--metric", choices=("l2", "ip", "cos"), required=True)
    args.add_argument("--threads", type=int, default=1)
    args.add_argument("--params", default="")
    for key in ("save", "load", "load-once"):
        args.add_argument(f"--{key}")
    args = args.parse_args()
    job = Job(args)
    if job.number("st", 1) != 1:
        refuse("adapters in Python search on one thread")
    args.out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # peers talk on stdout
    if not args.load and not args.load_once:
        path = args.save or f"ann-{os.getpid()}.index"
        remove(path)
        print(f"# {adapter.name} {versions(adapter)}" + (" (looped)" if adapter.looped else ""),
              file=args.out, flush=True)
        build(adapter, job, path)
        os.dup2(args.out.fileno(), 1)
        again = [a for a in sys.argv if a not in ("--save", args.save)]
        os.execv(sys.executable, [sys.executable, *again,
                                  "--load" if args.save else "--load-once", path])
    once, args.load = args.load_once, args.load or args.load_once
    about = mapped(args.base)
    job.rows, job.dims = about.shape
    print(HEADING, file=args.out, flush=True)
    search(adapter, job, args)
    if once:
        remove(once)

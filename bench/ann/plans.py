# SPDX-License-Identifier: Apache-2.0
"""Which configurations run_ann.py tries: of each peer what its authors advise and its own ways of
making codes. `build` makes an index, `search` goes over it again in another way; `ef` is the beam,
or what a peer has in its place.
"""
import math

BEAM = "10:16:24:36:56:90:140:220:350:550"
WIDE = "20:36:56:90:140:220:350:550:900"
WRITER = 100  # rows a second that are deleted, and as many inserted
LISTS = "2:4:8:16:32:64:128:256"
MS = (8, 16, 24, 32, 48)
EFCS = (100, 200, 500)


def graph(m, efc, **more):
    return ",".join([f"m={m}", f"efc={efc}", *(f"{k}={v}" for k, v in more.items())])


def product(grid, sizes):
    if grid == "full":
        return [(m, efc) for m in MS for efc in EFCS]
    return [(16, 200)] if grid == "climb" else sizes


def piramid(grid, about):
    plans = [{"build": "efc=200", "ef": BEAM}, {"build": "efc=200", "search": "tr=0", "ef": "0"},
             {"build": "efc=200", "search": "tr=99", "ef": "0"},
             {"build": "efc=200", "search": f"writer={WRITER}", "ef": "0"},
             {"build": "efc=200", "search": f"writer={WRITER}", "ef": "24"}]
    if grid == "full":
        plans += [{"build": f"efc=200,code={c}", "ef": BEAM} for c in ("f32", "sq8", "q4")]
    return plans


def hnswlib(grid, about):
    return [{"build": graph(m, efc), "ef": BEAM}
            for m, efc in product(grid, [(16, 200), (32, 200)])]


def glass(grid, about):
    # Codes of the walk and of the re-rank; the graph alone is kept, so that they share it.
    ways = ["code=SQ8U,refine=FP16", "code=SQ4U,refine=FP16"]
    return [{"build": graph(m, efc, build="SQ8U"), "search": way, "ef": BEAM}
            for m, efc in product(grid, [(16, 200)]) for way in ways]


def symqg(grid, about):
    return [{"build": graph(m, efc), "ef": WIDE}
            for m, efc in product(grid, [(16, 200), (48, 100)]) if m % 16 == 0]


def rabitq(grid, about):
    plans = [{"build": graph(m, efc, kind="symqg"), "ef": WIDE}
             for m, efc in product(grid, [(16, 200)]) if m % 16 == 0]
    return plans + [{"build": graph(16, 200, kind="hnsw", bits=b), "ef": BEAM}
                    for b in ((4, 5, 7) if grid == "full" else (5,))]


def faiss(grid, about):
    lists = 2 ** round(math.log2(2 * math.sqrt(about["rows"])))
    plans = [{"build": graph(m, efc, code="f32"), "ef": BEAM}
             for m, efc in product(grid, [(16, 200)])]
    plans += [{"build": graph(m, efc, code="sq8"), "search": f"rf={rf}", "ef": BEAM}
              for m, efc in product(grid, [(16, 200)]) for rf in (0, 2)]
    plans += [{"build": f"code=pqfs,lists={lists}", "search": f"rf={rf}", "ef": LISTS}
              for rf in (4, 16)]
    return plans + [{"build": f"code=rabitq,lists={lists}", "search": f"rf={rf}", "ef": LISTS}
                    for rf in (8, 32)]


def usearch(grid, about):
    codes = ("f16", "i8") if about["metric"] == "cos" else ("f16",)
    codes += () if grid == "small" else ("f32",)
    return [{"build": graph(m, efc, code=c), "ef": BEAM}
            for m, efc in product(grid, [(16, 200)]) for c in codes]


def voyager(grid, about):
    return [{"build": graph(m, efc), "ef": BEAM} for m, efc in product(grid, [(16, 200)])]


def svs(grid, about):
    # Its compressed kinds run on Intel's processors alone.
    codes = ("f32", "lvq8", "lvq4x8", "leanvec") if grid == "full" else ("f32",)
    return [{"build": graph(m, efc, code=c), "ef": BEAM}
            for m, efc in product(grid, [(16, 200)]) for c in codes]


def zvec(grid, about):
    codes = ("uint8", "int8", "f32") if grid == "full" else ("uint8",)
    return [{"build": graph(m, efc, code=c), "ef": BEAM}
            for m, efc in product(grid, [(16, 200)]) for c in codes]


def ngt(grid, about):
    return [{"build": "onng=0,edges=30", "ef": "90:95:98:100:102:105:110"}]


def lancedb(grid, about):
    return [{"build": graph(16, 200), "search": f"rf={rf}", "ef": "20:40:80:160:320"}
            for rf in (0, 2)]


def sqlite_vec(grid, about):
    return [{"build": "exact=1", "ef": "1"}]


PLANS = {"piramid": piramid, "hnswlib": hnswlib, "glass": glass, "symqg": symqg, "rabitq": rabitq,
         "faiss": faiss, "usearch": usearch, "voyager": voyager, "svs": svs, "zvec": zvec,
         "ngt": ngt, "lancedb": lancedb, "sqlite-vec": sqlite_vec}


def of(peer, grid, about):
    return PLANS[peer](grid, about)


def beside(peer, plan, name, values):
    """The same plan with other values of `m` or `efc`; none where it has no such parameter."""
    items = dict(item.split("=", 1) for item in plan["build"].split(","))
    if name not in items or peer == "piramid":
        return []
    some = [v for v in values if not (peer in ("symqg", "rabitq") and name == "m" and v % 16)]
    return [plan | {"build": ",".join(f"{k}={v}" for k, v in (items | {name: v}).items())}
            for v in some]

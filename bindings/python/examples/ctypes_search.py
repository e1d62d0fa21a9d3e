# SPDX-License-Identifier: Apache-2.0
"""Piramid through ctypes, without the module: usage ctypes_search.py LIBPIRAMID.SO FOLDER.

What any language does that can call C: structures laid out as in pv.h, struct_size first. It opens
a database, writes four records, searches, reads one back, and meets an error. For programs use the
module `piramiddb`: ctypes checks no signatures.
"""

import ctypes as c
import sys


class Error(c.Structure):
    """pv_error."""

    _fields_ = [("struct_size", c.c_uint32), ("code", c.c_int32), ("sys_errno", c.c_int32),
                ("reserved0", c.c_uint32), ("record_index", c.c_uint64), ("offset", c.c_uint64),
                ("message", c.c_char * 480)]


class CollectionOpts(c.Structure):
    """pv_collection_opts: its beginning, which is enough where struct_size says so."""

    _fields_ = [(name, c.c_uint32)
                for name in ("struct_size", "dims", "metric", "type", "key", "flags")]


class Record(c.Structure):
    """pv_record."""

    _fields_ = [("struct_size", c.c_uint32), ("type", c.c_uint32), ("id", c.c_char_p),
                ("id_len", c.c_size_t), ("id_u64", c.c_uint64), ("vector", c.c_void_p),
                ("dims", c.c_uint32), ("reserved0", c.c_uint32), ("metadata", c.c_char_p),
                ("metadata_len", c.c_size_t)]


class Query(c.Structure):
    """pv_query."""

    _fields_ = [("struct_size", c.c_uint32), ("flags", c.c_uint32), ("vector", c.c_void_p),
                ("dims", c.c_uint32), ("type", c.c_uint32), ("k", c.c_uint32),
                ("include", c.c_uint32), ("filter", c.c_char_p), ("filter_len", c.c_size_t),
                ("max_distance", c.c_float), ("ef", c.c_uint32), ("target_recall", c.c_float),
                ("threads", c.c_uint32)]


ID_NONE = 2**64 - 1
METRIC_L2, INCLUDE_METADATA, ERR_DIMS = 1, 1, -13
VECTORS = {b"east": (1, 0), b"north": (0, 1), b"west": (-1, 0), b"south": (0, -1)}


def load(path):
    """The library, with the types of what is used here."""
    lib = c.CDLL(path)
    lib.pv_results_id.restype = lib.pv_results_metadata.restype = c.c_char_p
    lib.pv_results_distance.restype = c.c_float
    lib.pv_results_vector.restype = c.POINTER(c.c_float)
    lib.pv_results_count.restype = c.c_size_t
    lib.pv_version_string.restype = c.c_char_p
    return lib


def check(code, error):
    """Raise what a call has reported."""
    if code:
        raise RuntimeError(f"{error.message.decode()} ({code})")


def main():
    """Open, write, search, get, fail, close."""
    lib, path = load(sys.argv[1]), sys.argv[2] + "/ctypes.pv"
    print("version", lib.pv_version_string().decode())
    error = Error(struct_size=c.sizeof(Error))
    e, db, rows = c.byref(error), c.c_void_p(), c.c_void_p()
    check(lib.pv_open(path.encode(), None, c.byref(db), e), error)
    opts = CollectionOpts(struct_size=c.sizeof(CollectionOpts), dims=2, metric=METRIC_L2)
    check(lib.pv_collection_ensure(db, None, b"winds", c.byref(opts), e), error)
    keep = [(c.c_float * 2)(*vector) for vector in VECTORS.values()]
    records = (Record * len(keep))(*(
        Record(struct_size=c.sizeof(Record), id=name, id_u64=ID_NONE, dims=2,
               vector=c.cast(vector, c.c_void_p), metadata=b'{"letter": "%c"}' % name[0])
        for name, vector in zip(VECTORS, keep)))
    check(lib.pv_upsert(db, None, b"winds", records, c.c_size_t(len(records)), None, e), error)

    point = (c.c_float * 2)(0.9, 0.1)
    query = Query(struct_size=c.sizeof(Query), vector=c.cast(point, c.c_void_p), dims=2, k=2,
                  include=INCLUDE_METADATA, target_recall=0.99)
    check(lib.pv_search(db, None, b"winds", c.byref(query), c.byref(rows), e), error)
    for i in range(lib.pv_results_count(rows)):
        at = c.c_size_t(i)
        print(lib.pv_results_id(rows, at).decode(), f"{lib.pv_results_distance(rows, at):.4f}",
              lib.pv_results_metadata(rows, at, None).decode())
    lib.pv_results_free(rows)

    check(lib.pv_get(db, None, b"winds", b"west", c.byref(rows), e), error)
    print("west", lib.pv_results_vector(rows, c.c_size_t(0))[:2])
    lib.pv_results_free(rows)

    query.dims = 3
    code = lib.pv_search(db, None, b"winds", c.byref(query), c.byref(rows), e)
    print("refused:", error.message.decode(), code == ERR_DIMS == error.code)
    check(lib.pv_close(db, e), error)


if __name__ == "__main__":
    main()

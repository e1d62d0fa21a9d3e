# SPDX-License-Identifier: Apache-2.0
"""The extension module piramiddb._native for cffi: all of pv.h and csrc/glue.h, with csrc/pv.c.

Declarations are taken from the headers themselves, so that nothing can differ from them, and the C
compiler checks them once more. setup.py asks for `ffibuilder`.
"""
import os
import pathlib
import re

import cffi

HERE = pathlib.Path(__file__).resolve().parent
CALLBACKS = """
extern "Python+C" int pvpy_on_signals(void);
extern "Python+C" void pvpy_on_log(void *ctx, int level, const char *category,
                                   const char *message);
extern "Python+C" void pvpy_on_finding(void *ctx, const char *collection, uint64_t page_id,
                                       const char *message);
"""


def declarations(header: str) -> str:
    """C declarations of a header as cffi reads them: no comments, no preprocessor; its numbers."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.S)
    text = text.replace("\\\n", " ")
    numbers = re.findall(r"^#define (PV_\w+) +\(?(?:-?\d+(?![\d.])|0x|UINT64_MAX)", text, re.M)
    text = re.sub(r'#ifdef __cplusplus\nextern "C" \{\n#endif|#ifdef __cplusplus\n\}\n#endif', "",
                  text)
    text = re.sub(r"^[ \t]*#.*$", "", text, flags=re.M)
    text = re.sub(r"^PV_EXTERN\s+", "", text, flags=re.M)
    return text + "".join(f"#define {name} ...\n" for name in numbers)


def read(name: str) -> str:
    return (HERE / "csrc" / name).read_text(encoding="utf-8")


ffibuilder = cffi.FFI()
ffibuilder.cdef(declarations(read("pv.h")) + declarations(read("glue.h")) + CALLBACKS)
zstd = os.environ.get("PIRAMIDDB_ZSTD") == "1"
ffibuilder.set_source(
    "piramiddb._native",
    '#include "glue.h"\n',
    sources=["csrc/pv.c", "csrc/glue.c"],
    depends=["csrc/pv.h", "csrc/glue.h"],
    include_dirs=["csrc"],
    define_macros=[("PV_EXTERN", "extern"), ("PV_WITH_ZSTD", "1" if zstd else "0")],
    extra_compile_args=["-O2", "-std=gnu11", "-fvisibility=hidden", "-Wno-unused-function"],
    libraries=["zstd", "pthread", "m"] if zstd else ["pthread", "m"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)

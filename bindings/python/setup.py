# SPDX-License-Identifier: Apache-2.0
"""Make csrc/pv.c and csrc/pv.h from the checkout around this folder, then build as usual.

A source distribution holds both files already and has nothing around it. In a checkout they are
made anew whenever a source is newer. The one thing they need that is not in the checkout is the
header xxhash.h: where the machine has none (Debian: libxxhash-dev), it is taken out of the source
distribution of the package `xxhash`, which pip fetches and checks like any other.
"""
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

from setuptools import Extension, setup

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
XXHASH = ("xxhash==3.5.0 "
          "--hash=sha256:84f2caddf951c9cbf8dc2e22a89d4ccf5d86391ac6418fe81e3c67d0cf60b45f")


def fetch_xxhash(folder: pathlib.Path) -> None:
    # -I: the environment in which packages are built hides pip.
    wanted = folder / "requirements.txt"
    wanted.write_text(XXHASH + "\n", encoding="utf-8")
    subprocess.run([sys.executable, "-I", "-m", "pip", "download", "--quiet", "--no-deps",
                    "--no-binary=:all:", "--require-hashes", "--dest", str(folder),
                    "--requirement", str(wanted)], check=True)
    [archive] = folder.glob("xxhash-*.tar.gz")
    with tarfile.open(archive) as tar:
        name = next(n for n in tar.getnames() if n.endswith("/deps/xxhash/xxhash.h"))
        source = tar.extractfile(name)
        assert source is not None
        (folder / "xxhash.h").write_bytes(source.read())


def generate(environment: "dict[str, str] | None" = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(ROOT / "amalgamation/gen.py"), str(HERE / "csrc")],
                          capture_output=True, text=True, check=False, env=environment)


def is_stale() -> bool:
    made = HERE / "csrc/pv.c"
    if not made.exists():
        return True
    sources = [ROOT / "amalgamation/gen.py", *(ROOT / "lib").rglob("*"),
               *(ROOT / "include").rglob("*")]
    return any(p.stat().st_mtime > made.stat().st_mtime for p in sources if p.is_file())


def amalgamate() -> None:
    if not (ROOT / "amalgamation/gen.py").exists() or not is_stale():
        return
    done = generate()
    if done.returncode and "xxhash.h" in done.stderr:
        with tempfile.TemporaryDirectory() as name:
            fetch_xxhash(pathlib.Path(name))
            done = generate(dict(os.environ, PV_XXHASH_DIR=name))
    if done.returncode:
        sys.exit(f"the library could not be put into one file:\n{done.stdout}{done.stderr}")


amalgamate()
rows = Extension("piramiddb._rows", ["csrc/rows.c"], depends=["csrc/glue.h", "csrc/pv.h"],
                 include_dirs=["csrc"], define_macros=[("PV_EXTERN", "extern")],
                 extra_compile_args=["-O2", "-std=gnu11", "-fvisibility=hidden"],
                 py_limited_api=True)
setup(cffi_modules=["build_ffi.py:ffibuilder"], ext_modules=[rows],
      options={"bdist_wheel": {"py_limited_api": "cp39"}})

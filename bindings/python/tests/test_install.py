# SPDX-License-Identifier: Apache-2.0
"""Source distribution, wheel and clean environments; the programs of the README; the plain ABI."""

import ctypes
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

from piramiddb._native import ffi

HERE = pathlib.Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.M | re.S)


def run(*command, cwd=None, env=None):
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, capture_output=True,
                          text=True, timeout=500, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def environment(folder):
    venv.create(folder, with_pip=True)
    return folder / "bin/python"


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    """What a release ships, made from the checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-c", "import sys; from setuptools.build_meta import build_sdist; "
        "build_sdist(sys.argv[1])", folder, cwd=HERE)
    [archive] = folder.glob("piramiddb-*.tar.gz")
    return archive


@pytest.fixture(scope="session")
def clean_python(sdist, tmp_path_factory):
    """A clean environment with nothing but the wheel that pip makes of the source distribution."""
    folder = tmp_path_factory.mktemp("clean")
    wheels = folder / "wheels"
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, sdist,
        cwd=folder)
    python = environment(folder / "env")
    [wheel] = wheels.glob("piramiddb-*.whl")
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    return python, wheel


def test_the_source_distribution_is_whole(sdist):
    with tarfile.open(sdist) as tar:
        names = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}
    assert {"csrc/pv.c", "csrc/pv.h", "csrc/glue.c", "csrc/glue.h", "csrc/rows.c", "build_ffi.py",
            "setup.py", "pyproject.toml", "README.md", "src/piramiddb/py.typed"} <= names


def test_the_wheel_is_one_for_all_pythons(clean_python):
    _, wheel = clean_python
    assert "-cp39-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"piramiddb/_native.abi3.so", "piramiddb/_rows.abi3.so", "piramiddb/py.typed",
            "piramiddb/_native.pyi", "piramiddb/_rows.pyi"} <= set(names)
    assert not [name for name in names if name.endswith((".c", ".h"))]


@pytest.mark.parametrize("module", ["_native", "_rows"])
def test_a_module_shows_nothing_but_its_entry(module, clean_python, tmp_path):
    _, wheel = clean_python
    name = f"piramiddb/{module}.abi3.so"
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(name, tmp_path)
    out = run("nm", "-D", "--defined-only", tmp_path / name)
    assert [line.split()[-1] for line in out.splitlines()] == [f"PyInit_{module}"]


def test_the_six_lines_and_the_other_programs_of_the_readme(clean_python, tmp_path):
    python, _ = clean_python
    programs = BLOCK.findall((HERE / "README.md").read_text(encoding="utf-8"))
    assert len(programs) == 4
    lines = programs[0][0].split("\n\n")[1].rstrip().splitlines()
    assert (len(lines), lines[0]) == (6, "import piramiddb")
    for text, wanted in programs:
        for _ in range(2):  # the second time the file is there
            assert run(python, "-I", "-c", text, cwd=tmp_path) == wanted
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo.pv"]


def test_nothing_but_numpy_and_cffi_is_needed(clean_python):
    python, _ = clean_python
    names = {line.split("==")[0].lower() for line in
             run(python, "-m", "pip", "freeze").splitlines()}
    assert {name.split(" ")[0] for name in names} == {"piramiddb", "numpy", "cffi", "pycparser"}


def test_other_pythons_load_the_same_wheel(clean_python, tmp_path):
    """As many as are installed here; the oldest and newest matter."""
    _, wheel = clean_python
    tried = 0
    for minor in range(9, 16):
        other = shutil.which(f"python3.{minor}")
        if not other or minor == sys.version_info[1]:
            continue
        if subprocess.run([other, "-c", "import venv, ensurepip"], capture_output=True,
                          check=False).returncode:
            continue
        folder = tmp_path / f"3.{minor}"
        run(other, "-m", "venv", folder)
        run(folder / "bin/python", "-m", "pip", "install", "--quiet", wheel)
        out = run(folder / "bin/python", "-c", "import piramiddb; "
                  "db = piramiddb.open(':memory:'); docs = db.collection('d', dims=2); "
                  "docs.insert(['a'], [[1, 2]]); print(docs.search([1, 2]).ids); db.close()")
        assert "'a'" in out
        tried += 1
    print(f"{tried} other Pythons")


def test_the_license_is_in_the_wheel(clean_python):
    _, wheel = clean_python
    with zipfile.ZipFile(wheel) as archive:
        [name] = [n for n in archive.namelist() if n.endswith("METADATA")]
        metadata = archive.read(name).decode()
        assert any(n.endswith("/LICENSE") for n in archive.namelist())
    assert "License-Expression: Apache-2.0" in metadata


# ---- the plain ABI ---------------------------------------------------------------------------


def test_a_program_through_ctypes(tmp_path):
    library = os.environ.get("PIRAMID_LIBRARY")
    if not library:
        library = tmp_path / "libpiramid.so"
        run("cc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "csrc/pv.c", "-lpthread", "-lm")
    for _ in range(2):
        out = run(sys.executable, "-I", HERE / "examples/ctypes_search.py", library, tmp_path)
        assert out.splitlines()[1:] == [
            'east 0.1414 {"letter":"e"}',
            'north 1.2728 {"letter":"n"}',
            "west [-1.0, 0.0]",
            "refused: vector has 3 dimensions, collection 'winds' wants 2 True",
        ]


def test_the_structures_of_the_ctypes_program_are_those_of_the_header():
    program = runpy.run_path(str(HERE / "examples/ctypes_search.py"))
    for cls, name, whole in (("Error", "pv_error", True), ("Record", "pv_record", True),
                             ("Query", "pv_query", True),
                             ("CollectionOpts", "pv_collection_opts", False)):
        structure, declared = program[cls], ffi.typeof(name)
        members = [(member, getattr(structure, member).offset, getattr(structure, member).size)
                   for member, _ in structure._fields_]
        wanted = [(member, field.offset, ffi.sizeof(field.type))
                  for member, field in declared.fields]
        assert members == (wanted if whole else wanted[:len(members)])
        assert not whole or ctypes.sizeof(structure) == ffi.sizeof(name)

# SPDX-License-Identifier: Apache-2.0
"""Docstrings are run, and every public name has one; types and style are checked."""

import doctest
import importlib
import inspect
import pathlib
import shutil
import subprocess
import sys
import textwrap

import pytest

import piramiddb

HERE = pathlib.Path(__file__).resolve().parent.parent
MODULES = ["piramiddb", "piramiddb.collection", "piramiddb.database", "piramiddb.results",
           "piramiddb.errors"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name):
    module = importlib.import_module(name)
    done = doctest.testmod(module, extraglobs={"piramiddb": piramiddb})
    assert done.failed == 0
    assert done.attempted > 0 or name.endswith(("results", "errors"))


def test_every_public_name_is_documented():
    lost = []
    for name in piramiddb.__all__:
        thing = getattr(piramiddb, name)
        lost += [] if thing.__doc__ else [name]
        if inspect.isclass(thing):
            lost += [f"{name}.{member}" for member, value in vars(thing).items()
                     if not member.startswith("_") and (callable(value) or
                                                        isinstance(value, property))
                     and not value.__doc__]
    assert lost == []


def tool(*command):
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ruff_is_clean():
    tool(shutil.which("ruff", path=pathlib.Path(sys.executable).parent) or "ruff", "check", ".")


def test_mypy_is_clean():
    tool(sys.executable, "-m", "mypy", "--strict", "src/piramiddb")


def test_types_as_users_see_them(tmp_path):
    """mypy --strict on a user's program, against the installed package."""
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent("""
        import numpy as np
        import piramiddb

        with piramiddb.open("x.pv", sync="async") as db:
            texts = db.collection("a", dims=3)
            numbers = db.collection("b", dims=3, key="int")
            texts.insert(["a"], np.eye(1, 3), [{"x": 1}])
            for hit in texts.search([1, 2, 3], k=3, filter={"x": 1}):
                a: str = hit.id
                b: float = hit.score
            for found in numbers.search_many(np.eye(3)):
                c: list[int] = [hit.id for hit in found]
            record = numbers.get(5)
            if record is not None:
                d: int = record.id
            e: list[str] = [r.id for r in texts]
            with db.transaction() as tx:
                f: int = tx.collection(numbers).count()
    """), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", str(program)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    program.write_text(program.read_text(encoding="utf-8").replace("a: str", "a: int"),
                       encoding="utf-8")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Incompatible types" in done.stdout

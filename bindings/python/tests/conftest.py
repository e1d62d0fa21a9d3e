# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a database in a file of its own, seeded numbers."""

import os
import random

import numpy as np
import pytest

import piramiddb

SEED = int(os.environ.get("PIRAMIDDB_SEED", random.SystemRandom().randrange(2**32)))


def pytest_report_header(config):
    return f"piramiddb {piramiddb.__version__} from {piramiddb.__file__}, PIRAMIDDB_SEED={SEED}"


def make_it_log(path):
    """Closing an open database will tell its log that its folder cannot be removed."""
    (path.parent / (path.name + "-wal") / "not-ours").touch()


@pytest.fixture
def rng():
    return np.random.default_rng(SEED)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.pv"


@pytest.fixture
def db(path):
    with piramiddb.open(path) as database:
        yield database


@pytest.fixture
def docs(db):
    return db.collection("docs", dims=4, metric="l2", index="flat")


@pytest.fixture
def numbers(db):
    return db.collection("numbers", dims=4, metric="l2", key="int", index="flat")

# SPDX-License-Identifier: Apache-2.0
"""Random programs against a dict and numpy: machine.py for a while, with a seed that is printed.

PIRAMIDDB_RUNS sets their number; `make soak` asks for 2,000.
"""

import os

import machine
from conftest import SEED

RUNS = int(os.environ.get("PIRAMIDDB_RUNS", "60"))


def test_random_programs_agree_with_the_model():
    part = 100
    for begin in range(0, RUNS, part):
        number = SEED + begin
        print(f"{min(part, RUNS - begin)} runs of 50 steps, seed {number}")
        machine.run(min(part, RUNS - begin), 50, number)
    print(machine.counted)
    assert machine.counted["kills"] > 0
    assert machine.counted["searches"] > RUNS

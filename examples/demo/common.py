# SPDX-License-Identifier: Apache-2.0
"""What the demo's programs share: the data beside them and the program `piramid`."""
import array
import json
import os
import pathlib
import struct
import subprocess
import sys

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
DIMS = 384


def rows(name):
    """The lines of a data file as dictionaries."""
    with open(DATA / f"{name}.jsonl", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def npy_payload(path):
    """The bytes of an npy file behind its header."""
    data = pathlib.Path(path).read_bytes()
    if data[:8] != b"\x93NUMPY\x01\x00":
        sys.exit(f"{path}: not an npy file of version 1")
    return data[10 + int.from_bytes(data[8:10], "little"):]


def npy_header(descr, count, dims):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({count}, {dims}), }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def vectors(name):
    """The embeddings of a data file, each as the bytes of DIMS halves."""
    data = npy_payload(DATA / f"{name}.f16.npy")
    return [data[i:i + 2 * DIMS] for i in range(0, len(data), 2 * DIMS)]


def floats(halves):
    return struct.unpack(f"<{DIMS}e", halves)


def as_f32(halves):
    """The same numbers as the bytes of DIMS floats; exact."""
    return array.array("f", floats(halves)).tobytes()


def program(build):
    path = os.path.join(build, "piramid") if os.path.isdir(build) else build
    if not os.access(path, os.X_OK):
        sys.exit(f"{path} is not there: build it first (make)")
    return os.path.abspath(path)


def run(*command, stdin=None):
    """Runs a command; its standard output. Ends this program when it fails."""
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:4])} ... ended with {done.returncode}")
    return done.stdout

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The demo: sh examples/demo/run.sh BUILD
# BUILD is the folder with the program `piramid`. Works in temporary folders; a few seconds.
set -eu
build=${1:?usage: run.sh BUILD}
here=$(dirname "$0")
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
# The distribution's python3 has the distribution's numpy, even where another one comes first.
python=python3
if ! "$python" -c 'import numpy' 2>/dev/null && /usr/bin/python3 -c 'import numpy' 2>/dev/null; then
    python=/usr/bin/python3
fi
"$python" "$here/demo.py" "$build"
printf '\n== a writing process is killed with SIGKILL at a random moment, three times\n'
"$python" "$here/killtest.py" "$build" --rounds 3

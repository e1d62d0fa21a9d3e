#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The tour of `make demo`: BUILD is the build folder. Works in a temporary folder, leaves nothing.
set -eu
: "${BUILD:?the build folder}"
build=$(cd "$BUILD" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

echo "== examples/quickstart.c, run twice in one folder"
cd "$folder"
"$build/examples/quickstart"
"$build/examples/quickstart"
ls -l demo.pv
cd "$root"
sh examples/demo/run.sh "$build"

cat <<EOT

== next
The program:  $build/piramid --help
The library:  $build/libpiramid.a and $build/libpiramid.so, with include/pv.h
One file:     make amalgamation, then cc app.c pv.c -lpthread -lm
All tests:    make check
EOT

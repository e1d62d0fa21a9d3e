#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install and build the peers of the recall bench: bench/ann/peers.sh [FOLDER], default
# build/ann-peers. Packages come from PyPI into a virtual environment in it; hnswlib's source
# package is compiled here. glass and SymphonyQG have no packages: where GLASS and SYMQG name
# checkouts of zilliztech/pyglass and gouyt13/SymphonyQG they are compiled too. A peer that cannot
# be had is left out, and the run says so. OBJECTS: the folder of ann_main.o and ann_judge.o.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
folder=${1:-$root/build/ann-peers}
objects=${OBJECTS:-$root/build/obj/bench/ann}
cxx=${CXX:-g++}
mkdir -p "$folder/src"
folder=$(cd "$folder" && pwd)

[ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv" || exit 1
python=$folder/venv/bin/python
$python -m pip -q install numpy
for package in faiss-cpu usearch voyager rabitqlib scalable-vs zvec ngt lancedb sqlite-vec \
        pysqlite3-binary; do
    $python -m pip -q install --only-binary :all: "$package" || echo "no $package"
done

# Compile one peer with -march=native and the flags of its authors.
# usage: compile NAME STANDARD VERSION FLAGS...
compile() {
    name=$1 standard=$2 version=$3
    shift 3
    "$cxx" "-std=$standard" -O3 -march=native -w -DNDEBUG "-DPEER_VERSION=\"$version\"" \
        "-I$here" "$@" \
        "$here/peer_$name.cpp" "$objects/ann_main.o" "$objects/ann_judge.o" -pthread \
        -o "$folder/ann-$name" && echo "$name $version: $cxx -std=$standard -O3 -march=native $*"
}

cd "$folder/src" || exit 1
ls -d hnswlib-*/ >/dev/null 2>&1 || {
    $python -m pip -q install setuptools wheel pybind11
    $python -m pip -q download --no-deps --no-binary :all: --no-build-isolation hnswlib &&
        tar xf hnswlib-*.tar.gz
}
for source in hnswlib-*/; do
    [ -d "$source" ] && compile hnswlib c++17 "$(basename "${source#hnswlib-}")" "-I$source"
done
[ -n "${GLASS:-}" ] && compile glass c++20 "$(git -C "$GLASS" log -1 --format=%h)" -Ofast \
    -fopenmp "-I$GLASS" "-I$GLASS/third_party/helpa"
[ -n "${SYMQG:-}" ] && compile symqg c++17 "$(git -C "$SYMQG" log -1 --format=%h)" -Ofast \
    -fopenmp -DEIGEN_DONT_PARALLELIZE "-I$SYMQG/symqglib"
exit 0

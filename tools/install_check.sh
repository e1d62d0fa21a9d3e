#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install into an empty prefix and use it as a stranger would: tools/install_check.sh BUILD
# The quick start is compiled with what pkg-config says, against the shared and the static library.
# The last line is `N passed, N failed`.
set -u
build=${1:?usage: tools/install_check.sh BUILD}
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
prefix=$folder/usr
passed=0 failed=0

check() {
    what=$1
    shift
    if "$@" >"$folder/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$what:"
        cat "$folder/log"
    fi
}
staged() {
    make -s -C "$root" BUILD="$build" DESTDIR="$folder/stage" PREFIX=/usr install &&
        [ -x "$folder/stage/usr/bin/piramid" ] && [ -f "$folder/stage/usr/include/pv.h" ] &&
        grep -q '^prefix=/usr$' "$folder/stage/usr/lib/pkgconfig/piramid.pc"
}
flags() { PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config "$@" piramid; }
app_shared() {
    # shellcheck disable=SC2046 # flags are words
    cc -o "$folder/shared" "$root/examples/quickstart.c" $(flags --cflags --libs) &&
        (cd "$folder" && LD_LIBRARY_PATH=$prefix/lib ./shared)
}
app_static() {
    # shellcheck disable=SC2046
    cc -o "$folder/static" "$root/examples/quickstart.c" $(flags --cflags) \
        "$prefix/lib/libpiramid.a" $(flags --static --libs | sed 's/-lpiramid//') &&
        (cd "$folder" && ./static)
}
version() {
    [ "$(flags --modversion)" = "$(sed -n 's/^#define PV_VERSION_STRING "\(.*\)"/\1/p' \
        "$prefix/include/pv.h")" ] && LD_LIBRARY_PATH=$prefix/lib "$prefix/bin/piramid" version
}

check "install into a prefix" make -s -C "$root" BUILD="$build" PREFIX="$prefix" install
check "install with DESTDIR" staged
check "a program on the shared library" app_shared
check "a program on the static library" app_static
check "the version" version
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

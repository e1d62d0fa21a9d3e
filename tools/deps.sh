#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install what a target needs and is missing: tools/deps.sh demo|check|fuzz|soak
#
# Looks for the programs and headers themselves; only what is missing goes to apt-get, as root or
# through `sudo -n`. Where neither is possible it prints the command and exits 1. Silent and without
# network when nothing is missing.
set -u

cc=${CC:-gcc}
missing=""
need() { missing="$missing $1"; }
has() { command -v "$1" >/dev/null 2>&1; }
has_header() { printf '#include <stddef.h>\n%s#include <%s>\n' "${2:-}" "$1" |
    "$cc" -E -x c - >/dev/null 2>&1; }

has "$cc" && printf 'int main(void){return 0;}\n' | "$cc" -x c - -o /dev/null 2>/dev/null ||
    { [ "$cc" = clang ] && need clang || need gcc; need libc6-dev; }
has pkg-config || need pkg-config
has python3 || need python3
has_header xxhash.h || need libxxhash-dev
has_header zstd.h || need libzstd-dev

case "${1:-}" in
demo) ;;
check|fuzz|soak)
    has_header cmocka.h '#include <stdarg.h>
#include <stdint.h>
#include <setjmp.h>
' || need libcmocka-dev
    if [ "$1" = soak ]; then
        has spin || need spin
        has patch || need patch
    fi
    if [ "$1" != check ]; then
        has afl-fuzz && has afl-clang-fast || { need afl++; need clang; }
    fi
    if [ "$1" != fuzz ]; then
        has gcov || need gcc
        has g++ || need g++
        has clang || need clang
        has meson || need meson
        has ninja || need ninja-build
        # For `make aarch64`, where that is not what everything is built for anyway.
        case $(uname -m 2>/dev/null) in
        aarch64|arm64) ;;
        *)
            has aarch64-linux-gnu-gcc && printf '#include <stdlib.h>\nint main(void){return 0;}\n' |
                aarch64-linux-gnu-gcc -x c - -o /dev/null 2>/dev/null ||
                { need gcc-aarch64-linux-gnu; need libc6-dev-arm64-cross; }
            has qemu-aarch64 || need qemu-user
            ;;
        esac
        # For bindings/python: Python's headers, and environments with pip.
        python3 -c 'import sysconfig, os
raise SystemExit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null ||
            need python3-dev
        python3 -c 'import venv, ensurepip' 2>/dev/null || need python3-venv
    fi
    ;;
*)
    echo "usage: tools/deps.sh demo|check|fuzz|soak" >&2
    exit 2
    ;;
esac

[ -n "$missing" ] || exit 0
if ! has apt-get; then
    echo "missing (names of the Debian packages):$missing" >&2
    echo "no apt-get here: please install them with your system's own tool" >&2
    exit 1
fi
as=""
if [ "$(id -u)" != 0 ]; then
    if has sudo && sudo -n true 2>/dev/null; then
        as="sudo -n"
    else
        echo "missing packages; please run:" >&2
        echo "    sudo apt-get install -y --no-install-recommends$missing" >&2
        exit 1
    fi
fi
install_packages() {
    # shellcheck disable=SC2086 # words are meant to split
    $as env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
}
echo "installing:$missing"
install_packages >/dev/null 2>&1 && exit 0
echo "updating the package lists"
$as apt-get update >/dev/null || echo "apt-get update failed; trying all the same" >&2
if ! install_packages; then
    echo "could not install:$missing" >&2
    exit 1
fi

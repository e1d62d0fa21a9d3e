#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Check the models of this folder in every interleaving, and that each planted bug is found: usage
# run.sh [model ...]. Needs spin and a C compiler. PV_SOAK=1: larger models too (minutes, 6 GiB).
# The last line is `N passed, N failed`.
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
passed=0
failed=0

# explore MODEL DEFINES...: prints what was found; leaves states and errors in $states, $errors.
explore() {
    model=$1
    shift
    rm -f pan* ./*.trail
    states=0 errors=none
    spin -a "$@" "$here/$model.pml" >spin.log 2>&1 &&
        ${CC:-cc} $opt -w -DSAFETY -DCOLLAPSE -DMEMLIM=6000 -o pan pan.c &&
        ./pan -m100000 -n >pan.log 2>&1
    if grep -q 'errors: ' pan.log 2>/dev/null &&
        ! grep -q 'out of memory\|MEMLIM\|too small' pan.log; then
        states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' pan.log)
        errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.log)
    fi
}

holds() {
    opt=-O2
    explore "$@"
    model=$1
    shift
    if [ "$errors" = 0 ]; then
        passed=$((passed + 1))
        printf '%-6s %-53s %10d states  holds\n' "$model" "$*" "$states"
    else
        failed=$((failed + 1))
        printf '%-6s %-53s FAILED\n' "$model" "$*"
        cat spin.log pan.log 2>/dev/null | tail -n 20
    fi
}

# A search ends at the first error, so that the report names what the bug breaks.
breaks() {
    model=$1 number=$2
    shift 2
    opt=-O0 # most of the time goes to the compiler
    explore "$model" "-DBROKEN=$number" "$@"
    what=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' pan.log 2>/dev/null | cut -c 1-60)
    case $what in
    assertion*)
        passed=$((passed + 1))
        printf '%-6s BROKEN=%-2d %-42s %10d states  found: %s\n' \
            "$model" "$number" "$*" "$states" "$what"
        ;;
    *)
        failed=$((failed + 1))
        printf '%-6s BROKEN=%-2d %-41s FAILED: not found %s\n' "$model" "$number" "$*" "$what"
        ;;
    esac
}

run_s10() {
    holds s10 -DREADERS=1 -DCOMMITS=2 -DACTIONS=3
    holds s10 -DREADERS=2 -DCOMMITS=2 -DACTIONS=2 -DCHECKPOINTS=0 -DREADS=1
    holds s10 -DREADERS=2 -DCOMMITS=2 -DACTIONS=1 -DREADS=1
    holds s10 -DREADERS=1 -DCOMMITS=3 -DACTIONS=2 -DREADS=1
    if [ "${PV_SOAK:-0}" = 1 ]; then
        holds s10 -DREADERS=2 -DCOMMITS=2 -DACTIONS=2 -DREADS=1
        holds s10 -DREADERS=1 -DCOMMITS=3 -DACTIONS=3
    fi
    for number in 1 2 3 4 5 6 7 8 9 11 12 13; do
        breaks s10 $number -DREADERS=1 -DCOMMITS=2 -DACTIONS=2 -DREADS=1
    done
    breaks s10 10 -DREADERS=1 -DCOMMITS=3 -DACTIONS=2 -DREADS=1
}

run_flip() {
    holds flip -DCOMMITS=4 -DCUTS=2
    holds flip -DCOMMITS=4 -DCUTS=3
    if [ "${PV_SOAK:-0}" = 1 ]; then
        holds flip -DCOMMITS=5 -DCUTS=3
    fi
    for number in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do
        breaks flip $number
    done
}

for model in "${@:-all}"; do
    case $model in
    s10) run_s10 ;;
    flip) run_flip ;;
    all) run_s10 && run_flip ;;
    *) echo "no model $model" >&2 && failed=$((failed + 1)) ;;
    esac
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

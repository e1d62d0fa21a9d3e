#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fuzz every target of fuzz/ with AFL++: tools/fuzz.sh SECONDS [target ...]
# Environment: BUILD, AFL_CC. A target is named as in fuzz/fuzz_<target>.c; its seeds are in
# fuzz/corpus/<target>. Findings stay in $BUILD/afl/out/<target>; the last line says how many.
set -eu
seconds=${1:?usage: tools/fuzz.sh SECONDS [target ...]}
shift
build=${BUILD:-build}
cc=${AFL_CC:-afl-clang-fast}
cd "$(dirname "$0")/.."
tools/deps.sh fuzz

targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    for file in fuzz/fuzz_*.c; do
        name=${file##*/fuzz_}
        targets+=("${name%.c}")
    done
fi
export AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_UI=1 AFL_QUIET=1
programs=()
for name in "${targets[@]}"; do
    programs+=("$build/afl/fuzz/fuzz_$name")
done
make -s BUILD="$build/afl" CC="$cc" SAN=address,undefined DEBUG=1 WERROR=0 \
    CFLAGS='-O2 -g -w' "${programs[@]}"

passed=0 failed=0
for name in "${targets[@]}"; do
    out=$build/afl/out/$name
    rm -rf "$out"
    mkdir -p "$out"
    seeds=fuzz/corpus/$name
    if ! compgen -G "$seeds/*" >/dev/null; then
        seeds=$out/seeds
        mkdir -p "$seeds"
        printf '0' >"$seeds/zero"
    fi
    dict=()
    [ -f "fuzz/dict/$name.dict" ] && dict=(-x "fuzz/dict/$name.dict")
    log=$out/log
    if ! afl-fuzz -i "$seeds" -o "$out" -V "$seconds" -m none -t 5000+ "${dict[@]}" \
        -- "$build/afl/fuzz/fuzz_$name" >"$log" 2>&1; then
        tail -n 20 "$log"
        echo "$name: afl-fuzz did not run"
        failed=$((failed + 1))
        continue
    fi
    execs=$(sed -n 's/^execs_done *: *//p' "$out/default/fuzzer_stats")
    bad=$(find "$out/default/crashes" "$out/default/hangs" -name 'id:*' | wc -l)
    echo "$name: $execs runs, $bad crashes and hangs"
    if [ "$bad" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

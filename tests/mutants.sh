#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Plants the faults of tests/mutants.txt in a copy of the tree, one at a time, and runs the
# test that should find each. A fault that no test finds, or that does not compile, fails.
#
#     tests/mutants.sh [PATTERN]      # only faults whose line fits the pattern
#
# Run by `make check-mutants`, in about five minutes; not part of `make check`.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL

build=${BUILD:-build}
pattern=${1:-.}

[ -f "$build/config.mak" ] || { echo "nothing is configured in $build"; exit 77; }

tree=$(mktemp -d "$(absolute "$build")/mutants-XXXXXX")
trap 'rm -rf "$tree"' EXIT
mkdir "$tree/build"
cp -Rp Makefile configure libavfilter-linvideo kernels tests "$tree"
mkdir "$tree/samples"
cp -Rp samples/configs "$tree/samples"
cp -p "$build"/config.* "$tree/build"
find "$tree" -name '*.o' -delete

# compile PROGRAM: quietly; what the compiler says is in log
compile() {
    make -C "$tree" -j "$(nproc)" BUILD=build CONFIG_CUDA=no \
        "build/tests/check_$1" >"$tree/log" 2>&1
}

# replace FILE OLD NEW: OLD stands in it once; "\n" is the end of a line
replace() {
    OLD=$2 NEW=$3 awk '
        function lines(text) { gsub(/\\n/, "\n", text); return text }
        { all = all $0 "\n" }
        END {
            old = lines(ENVIRON["OLD"]); new = lines(ENVIRON["NEW"])
            at = index(all, old)
            if (!at || index(substr(all, at + 1), old)) exit 1
            printf "%s%s%s", substr(all, 1, at - 1), new, substr(all, at + length(old))
        }' "$1" >"$1.new" && mv "$1.new" "$1"
}

# run PROGRAM CASE
run() {
    [ -z "$2" ] || export CK_RUN_CASE="$2"
    (cd "$tree" && timeout 300 "build/tests/check_$1") >"$tree/log" 2>&1
}

# plant FILE PROGRAM CASE NAME OLD NEW
plant() {
    path=$tree/libavfilter-linvideo/$1
    cp -p "$path" "$path.kept"
    if ! replace "$path" "$5" "$6"; then
        not_ok "$4" "$1 does not hold this text once: $5"
    elif ! compile "$2"; then
        not_ok "$4" "it does not compile: $(grep -m 1 error "$tree/log")"
    elif run "$2" "$3"; then
        not_ok "$4" "check_$2, case $3, does not find it"
    else
        ok "$4: $(sed -n 's/^[^:]*:[0-9]*:[FE]:[^:]*:\([^:]*:[0-9]*\):.*/\1/p' "$tree/log" |
            head -n 1)"
    fi
    # newer than the object of the fault
    mv "$path.kept" "$path"
    touch "$path"
}

for program in $(sed -n 's/^[a-z][^|]*| \([a-z]*\) .*/\1/p' tests/mutants.txt | sort -u); do
    succeeds "check_$program compiles" compile "$program"
    succeeds "check_$program, without a fault" run "$program" ''
done
grep -v '^#' tests/mutants.txt | grep . >"$tree/list"
while read -r head && IFS= read -r old && IFS= read -r new; do
    echo "$head" | grep -qE -e "$pattern" || continue
    file=${head%% | *} rest=${head#* | }
    test=${rest%% | *}
    plant "$file" "${test% *}" "${test#* }" "$file: ${rest#* | }" "${old#- }" "${new#+ }"
done <"$tree/list"
finish

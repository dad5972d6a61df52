#!/bin/sh
# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Every call of driver and cuBLASLt fails once (tests/faults.c), with a model that was
# trained for a moment.

. "$(dirname "$0")/report.sh"
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}

[ -x "$build/tests/faults" ] && [ -f "$build/tests/emu/libcuda.so" ] || exit 77
. tests/emu/use.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$build/linvideo" train --device cpu --dir "$work" tests/ref/tiny.json >"$work/said" 2>&1 || {
    not_ok "a small model" "$(cat "$work/said")"
    finish
}
"$build/tests/faults" "$work" tests/ref/tiny.json

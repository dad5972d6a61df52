# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# Sourced by the shell tests: one line for each result, a sum at the end.

passed=0 failed=0

# absolute FILE: its whole path
absolute() { echo "$(cd "$(dirname "$1")" && pwd)/$(basename "$1")"; }

# ok NAME: a test passed
ok() {
    echo "ok $1"
    passed=$((passed + 1))
}

# not_ok NAME [DETAILS]: a test failed; of long details the beginning
not_ok() {
    echo "not ok $1"
    [ -z "${2:-}" ] || printf '%s\n' "$2" | sed 's/^/    /' | head -n 30
    failed=$((failed + 1))
}

# empty NAME TEXT: passes when TEXT is empty, else shows it
empty() {
    if [ -z "$2" ]; then ok "$1"; else not_ok "$1" "$2"; fi
}

# equal NAME GOT WANTED
equal() {
    if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "is $2, not $3"; fi
}

# succeeds NAME COMMAND...: shows what the command said when it fails
succeeds() {
    report_name=$1
    shift
    if report_text=$("$@" 2>&1); then
        ok "$report_name"
    else
        not_ok "$report_name" "$report_text"
    fi
}

# run COMMAND...: keeps what it says in $said, its status in $code
run() {
    code=0
    said=$("$@" 2>&1) || code=$?
}

# expects NAME STATUS PATTERN COMMAND...: that status, and a line that fits the pattern
expects() {
    report_name=$1 wanted=$2 pattern=$3
    shift 3
    run "$@"
    if [ "$code" = "$wanted" ] && printf '%s\n' "$said" | grep -qE -e "$pattern"; then
        ok "$report_name"
    else
        not_ok "$report_name" "status $code, not $wanted, or no \"$pattern\": $said"
    fi
}

# ranks N COMMAND...: start so many; the exit codes in $codes, what they say in said.RANK
ranks() {
    nb=$1 i=0 pids=
    shift
    while [ $i -lt "$nb" ]; do
        RANK=$i WORLD_SIZE=$nb "$@" >said.$i 2>&1 &
        pids="$pids $!"
        i=$((i + 1))
    done
    codes=
    for pid in $pids; do
        wait "$pid"
        codes="$codes$?"
    done
}

# finish: print the sum, end with its status
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
    exit
}

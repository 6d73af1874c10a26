#!/bin/sh
# Explores mpsc_queue.pml fully, and shows that each broken rule is found. 77: spin or a C compiler is missing.
# SINCPRO_MODEL_MORE_PUSHERS: so many more threads that push.
set -eu
model=$(cd "$(dirname "$0")" && pwd)/mpsc_queue.pml
for needed in spin cc; do
    command -v "$needed" >/dev/null || { echo "not checked: $needed is missing"; exit 77; }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# explore MACROS...: what the search found is in the file `found`
explore() {
    spin "$@" -a "$model" >generated || { cat generated; exit 1; }
    cc -O1 -w -DSAFETY -DCOLLAPSE -DMEMLIM=1024 -o pan pan.c
    ./pan -m100000 >found 2>&1 || true
}
wrong() {
    echo "$1"
    cat found
    exit 1
}

holds() {
    explore "$@"
    grep -q 'errors: 0' found || wrong "a rule is broken"
    grep -q -i 'not completed\|max search depth too small\|out of memory' found && wrong "the search is not complete"
    grep -q 'unreached in proctype' found || wrong "no search"
    echo "holds with $*: $(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' found) states, all that there are"
}

# One pusher more takes about 30 times as long.
more=${SINCPRO_MODEL_MORE_PUSHERS:-0}
holds -DPUSHERS=$((1 + more))
holds -DPUSHERS=$((2 + more)) -DNO_THIEF

for broken in PARK_ANYWAY CLOSE_ANYWAY WAKE_IF_EMPTY UNCOUNTED NOT_KEPT UNLOCKED_THIEF; do
    explore -DPUSHERS=1 -D"$broken"
    grep -q 'errors: 0' found && wrong "$broken is not found"
    grep -q 'errors: 1' found || wrong "$broken: no answer"
    echo "$broken is found: $(sed -n 's/^pan:[0-9]*: \(.*\) (at depth.*/\1/p' found)"
done

#!/bin/sh
# skip.sh REASON: stands for a test that cannot be run here. CTest shows it as skipped, and its output says why.
echo "skipped: $1"
exit 77

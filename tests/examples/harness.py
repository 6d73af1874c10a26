"""Runs an example program with a time limit and checks what it prints."""

import os
import re
import subprocess
import sys
import time

SKIPPED = 77  # SKIP_RETURN_CODE of these tests
LONGEST_RUN = 120.0  # seconds: no run of an example comes near it


class Run:
    def __init__(self, command, **more):
        begin = time.monotonic()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True, timeout=LONGEST_RUN, **more)
        self.seconds = time.monotonic() - begin
        self.code = done.returncode
        self.out = done.stdout
        self.lines = done.stdout.splitlines()
        show(command, done.stdout, done.stderr)
        self.err = done.stderr
        check(self.code >= 0, "it ends by itself, not by signal %d" % -self.code)


def show(command, out, err=""):
    print("$", " ".join(os.path.basename(part) if part == command[0] else part for part in command))
    print(out, end="")
    print(err, end="", file=sys.stderr)
    sys.stdout.flush()


def check(condition, what):
    if not condition:
        print("FAILED:", what)
        sys.exit(1)


def check_line(line, pattern):
    check(re.fullmatch(pattern, line), "this line should match /%s/: %s" % (pattern, line))


def check_lines(lines, patterns):
    for line, pattern in zip(lines, patterns):
        check_line(line, pattern)
    check(len(lines) == len(patterns), "%d lines instead of %d" % (len(lines), len(patterns)))


def skip(why):
    print("skipped:", why)
    sys.exit(SKIPPED)

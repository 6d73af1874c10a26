"""small.py NAME PROGRAM: what one of the small examples prints."""

import re
import sys

from harness import Run, check, check_lines

NAME, PROGRAM = sys.argv[1:]
TRIES = 20


def in_time(patterns, least, too_long):
    """The time in ms that is printed is never too short, and in one run at least shorter than one after another."""
    for _ in range(TRIES):
        run = run_well(patterns)
        took = int(re.search(r"(\d+) ms, not", run.out).group(1))
        check(took >= least, "it took at least %d ms" % least)
        if took < too_long:
            return run
    check(False, "one of %d runs took less than %d ms" % (TRIES, too_long))


def missed_grace(line):
    """The machine was so busy that the task did not unwind within cancel_grace."""
    return line.endswith("it has stopped: false") or "task took longer" in line and "suspended at" not in line


def run_well(patterns):
    for _ in range(TRIES):
        run = Run([PROGRAM])
        if not any(map(missed_grace, run.lines)):
            break
    check_lines(run.lines, patterns)
    check(run.code == 0, "exit code 0")
    return run


def quickstart():
    in_time([r"user and cart after \d+ ms, not 500",
             r"task took longer than 100 ms; suspended at quickstart\.cpp:\d+ \(fetch\)"], 300, 500)


def timeout():
    run_well([r"connection to fast host closed",
              r"page of fast host",
              r"",
              r"connection to dead host closed",
              r"task took longer than 100 ms; suspended at timeout\.cpp:\d+ \(load\)",
              r"  it waited in load, line \d+",
              r"  it has stopped: true",
              r"",
              r"connection to slow host closed",
              r"default page"])


def partial_results():
    run_well([r"corner shop: 110 euros",
              r"closed shop: no price, opens at nine",
              r"far shop: no price, task took longer than 1 s; suspended at partial_results\.cpp:\d+ \(price\)",
              r"big shop: 80 euros"])


def when_any():
    run = run_well([r"  connection to (?:Lima|La Paz|Quito) closed"] * 3 +
                   [r"number 1 won: file from La Paz",
                    r"",
                    r"  connection to Sucre closed",
                    r"from the cache: 4096 bytes"])
    check(len(set(run.lines[:3])) == 3, "each of the three connections was closed")
    check(run.lines[0] == "  connection to La Paz closed", "the winner closed its connection first")


def retry():
    run_well([r"three failures, five tries",
              r"  failed, next try in 10 ms",
              r"  failed, next try in 20 ms",
              r"  failed, next try in 40 ms",
              r"answer",
              r"three failures, two tries",
              r"  failed, next try in 10 ms",
              r"gave up: connection reset",
              r"three failures, five tries, too little time",
              r"  failed, next try in 3600000 ms",
              r"task took longer than 200 ms; suspended at retry\.cpp:\d+ \(retry_call\)"])


def callback():
    run_well([r"kitchen: 21\.5 degrees",
              r"roof: Input/output error",
              r"cellar: task took longer than 2 s.*"])


def blocking_clients():
    cities = ("Oruro", "Tarija", "Potosi", "Sucre", "Beni", "Pando")
    in_time(["%s has %d orders" % (city, len(city)) for city in cities] +
            [r"6 queries of 200 ms took \d+ ms, not 1200"], 400, 1200)


def submit_and_forget():
    run = Run([PROGRAM])
    check(sorted(run.lines) == sorted(["the caller goes on", "audit: logged in", "audit: paid",
                                       "lost audit: an audit record needs a text"]), "each line once")
    check(run.code == 0, "exit code 0")


def progress_and_cancel():
    run_well([r"at least 3 files copied, cancelling",
              r"by its future: the task was cancelled",
              r"at least 5 files copied, cancelling",
              r"by a stop token: the task was cancelled"])


def own_worker():
    run_well([r"answered on thread requests",
              r"printed on thread reports",
              r"requests is stopped",
              r"answered on thread requests again"])


def sockets():
    run_well([r"echo of one, echo of two, echo of three"])


def child_process():
    run_well([r"ended with 3",
              r"task took longer than 100 ms; suspended at child_process\.cpp:\d+ \(run\)"])


globals()[NAME]()

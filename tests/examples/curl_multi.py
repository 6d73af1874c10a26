"""curl_multi.py PROGRAM: the example against real servers on loopback."""

import re
import sys

from harness import Run, check, check_line
from servers import Handler, Servers, meeting_of

LIMIT = 6  # seconds; the silent server uses it up
PROGRAM = sys.argv[1]


class Sizes(Handler):
    """/N is a page of N bytes."""

    protocol_version = "HTTP/1.1"  # connections are kept and used again

    def do_GET(self):
        return self.reply(b"x" * int(self.path[1:]))


with Servers() as servers:
    sizes = [servers.http(Sizes), servers.http(Sizes)]
    meeting = servers.http(meeting_of(10))
    silent = servers.silent()
    refused = servers.refusing()
    truncating = servers.replying(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x" * 100)
    servers.start()

    def url(port, path="/"):
        return "http://127.0.0.1:%d%s" % (port, path)

    good = [(url(sizes[i % 2], "/%d" % (i * 1000)), r"status 200, %d bytes" % (i * 1000)) for i in range(100)]
    good += [(url(sizes[0], "/5000000"), r"status 200, 5000000 bytes")]
    good += [(url(meeting, "/%d" % i), r"status 200, 3 bytes") for i in range(10)]
    bad = [(url(silent), r"failed, Timeout was reached"),
           (url(refused), r"failed, Could(?:n't| not) connect to server"),
           (url(truncating), r"failed, Transferred a partial file"),
           ("http://%s.invalid/" % ("n" * 64), r"failed, (?:Could(?:n't| not) resolve host ?name|URL using bad.*)")]

    for limit, wanted in ((60, good), (LIMIT, bad + good[:20])):
        run = Run([PROGRAM, "-t", str(limit)] + [address for address, _ in wanted])
        check(len(run.lines) == len(wanted), "one line for each URL")
        for line, (address, pattern) in zip(run.lines, wanted):
            check_line(line, re.escape(address) + ": " + pattern)
        check(run.code == (0 if wanted is good else 1), "the exit code tells whether one has failed")

    run = Run([PROGRAM])
    check(run.code == 2 and run.err.startswith("usage:"), "without URLs: the usage and exit code 2")

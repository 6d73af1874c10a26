"""http_get.py PROGRAM: the example against real servers on loopback."""

import functools
import http.server
import os
import re
import sys
import tempfile

from harness import Run, check, check_line
from servers import Handler, Servers, meeting_of

LIMIT = 6  # seconds; the silent servers use it up
PROGRAM = sys.argv[1]


class Folder(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Sizes(Handler):
    """/N is a page of N bytes."""

    def do_GET(self):
        if re.fullmatch("/[0-9]+", self.path):
            return self.reply(b"x" * int(self.path[1:]))
        return self.reply(b"no number\n", 404)


def url(port, path=""):
    return "http://127.0.0.1:%d%s" % (port, path)


def what_fails_does_not_hold_up_the_rest(folder):
    with open(os.path.join(folder, "page.html"), "w") as page:
        page.write("<p>hello</p>\n")
    os.chmod(folder, 0o755)
    with Servers() as servers:
        files = servers.http(functools.partial(Folder, directory=folder))
        sizes = servers.http(Sizes)
        silent = servers.silent()
        truncating = servers.replying(b"HTTP/1.0 200 OK\r\ncontent-length: 1000\r\n\r\n", b"x" * 100)
        cut = servers.replying(b"HTTP/1.0 200 OK\r\nContent-")
        closing = servers.replying()
        unknown_length = servers.replying(b"HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\n", b"12345")
        stranger = servers.replying(b"220 mail ready\r\n\r\n")
        half = servers.replying_half(b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        refused = servers.refusing()
        nowhere = "n" * 64 + ".invalid"  # a label of more than 63 letters: no name server is asked
        servers.start()

        expected = [
            (url(files, "/page.html"), r"HTTP/1\.0 200 OK, 13 bytes"),
            (url(files, "/none.html"), r"HTTP/1\.0 404 File not found, \d+ bytes"),
            (url(sizes, "/0"), r"HTTP/1\.0 200 OK, 0 bytes"),
            (url(sizes, "/1000000"), r"HTTP/1\.0 200 OK, 1000000 bytes"),
            (url(sizes), r"HTTP/1\.0 404 Not Found, 10 bytes"),
            (url(unknown_length), r"HTTP/1\.1 200 Fine, 5 bytes"),
            (url(silent, "/never"), r"failed, no complete answer in time: task took longer than %d s.*" % LIMIT),
            (url(half, "/half"), r"failed, no complete answer in time: task took longer than %d s.*" % LIMIT),
            (url(truncating), r"failed, truncated reply: 100 of 1000 bytes arrived"),
            (url(cut), r"failed, truncated reply: it ends within the header"),
            (url(closing), r"failed, the server closed the connection without a reply"),
            (url(stranger), r"failed, the server does not speak HTTP"),
            (url(refused), r"failed, cannot connect: Connection refused"),
            ("http://%s/" % nowhere, r"failed, cannot find host %s, port 80: .+" % nowhere),
            ("https://127.0.0.1/", r"failed, not of the form http://host:port/path"),
            ("http:///path", r"failed, names no host"),
        ]
        run = Run([PROGRAM, "-t", str(LIMIT)] + [wanted for wanted, _ in expected])
        check(len(run.lines) == len(expected), "one line for each URL")
        took = {}
        for line, (wanted, pattern) in zip(run.lines, expected):
            check_line(line, re.escape(wanted) + ": " + pattern + r", \d+ ms")
            took[wanted] = int(re.search(r", (\d+) ms$", line).group(1))
        check(run.code == 1, "exit code 1 when some have failed")
        check(took[url(silent, "/never")] >= 1000 * LIMIT, "the limit is not cut short")
        check(run.seconds < 2 * LIMIT, "two silent servers take one limit, not two")


def all_at_once():
    with Servers() as servers:
        meeting = servers.http(meeting_of(20))
        servers.start()
        run = Run([PROGRAM, "-t", "60"] + [url(meeting, "/%d" % i) for i in range(20)])
        for i, line in enumerate(run.lines):
            check_line(line, re.escape(url(meeting, "/%d" % i)) + r": HTTP/1\.0 200 OK, 3 bytes, \d+ ms")
        check(len(run.lines) == 20 and run.code == 0, "20 answers and exit code 0")


def bad_usage():
    for arguments in ([], ["-t", "0", "http://127.0.0.1/"], ["-t", "nan", "http://127.0.0.1/"]):
        run = Run([PROGRAM] + arguments)
        check(run.code == 2 and run.err.startswith("usage:"), "bad arguments get the usage and exit code 2")


with tempfile.TemporaryDirectory() as folder:
    what_fails_does_not_hold_up_the_rest(folder)
all_at_once()
bad_usage()

"""web_handler.py PROGRAM: asks the example's web server, which asks real backends."""

import re
import subprocess
import sys
import time
import urllib.request

from harness import check, check_line, show
from servers import Handler, Servers, meeting_of

LIMIT = 6  # seconds; the silent backend uses it up
GOOD = 14
PROGRAM = sys.argv[1]


class Failing(Handler):
    def do_GET(self):
        return self.reply(b"out of order\n", 500)


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


with Servers() as servers:
    # Of eight at a time the silent one is one for the whole time, so seven of the others meet twice.
    meeting = servers.http(meeting_of(7))
    silent = servers.silent()
    failing = servers.http(Failing)
    refused = servers.refusing()
    servers.start()

    def url(port, path=""):
        return "http://127.0.0.1:%d%s" % (port, path)

    backends = [url(silent), url(failing, "/x"), url(refused)] + [url(meeting, "/%d" % i) for i in range(GOOD)]
    expected = [r"no answer, task took longer than %d s.*" % LIMIT, r"no answer, status 500",
                r"no answer, request failed: (?:Connection|Could not establish connection)"]  # old and new versions
    expected += [r"met"] * GOOD

    program = subprocess.Popen([PROGRAM, "-t", str(LIMIT)] + backends, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               universal_newlines=True)
    try:
        address = re.match(r"(http://127\.0\.0\.1:\d+/) answers", program.stdout.readline()).group(1)
        for _ in range(2):  # the second time shows that the first left nothing behind
            begin = time.monotonic()
            page = get(address)
            took = time.monotonic() - begin
            show(["GET", address], page)
            print("took %.1f s" % took)
            lines = page.splitlines()
            check(len(lines) == len(backends), "one line for each backend")
            for line, backend, pattern in zip(lines, backends, expected):
                check_line(line, re.escape(backend) + ": " + pattern)
            check(LIMIT <= took < 2 * LIMIT, "the handler answers at its deadline")
        most = get(url(meeting, "/most"))
        check(most == "7", "at most 8 at a time, the silent one included: 7 of the others, not " + most)
        program.stdin.close()
        check(program.wait(60) == 0, "exit code 0 when its input ends")
    finally:
        program.kill()
        program.wait()

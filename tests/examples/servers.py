"""Servers on loopback, each on a free port, in one process that runs as an ordinary user and ends with the test.

    with Servers() as servers:
        pages = servers.http(PagesHandler)
        silent = servers.silent()
        servers.start()
"""

import ctypes
import http.server
import os
import pwd
import signal
import socket
import socketserver
import threading

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def ordinary_user(*names):
    """The first of these users that exists, if this process is root's; otherwise None: then it is ordinary already."""
    if os.geteuid() != 0:
        return None
    for name in names:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise RuntimeError("none of the users %s exists" % ", ".join(names))


def become(user):
    if user is not None:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)


def end_with_parent(parent, signal_number=signal.SIGKILL):
    """To be called after the change of user, which would undo it."""
    if hasattr(LIBC, "prctl"):
        LIBC.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


class Server(http.server.ThreadingHTTPServer):
    """http.server on a socket that listens already."""

    daemon_threads = True

    def __init__(self, listener, handler):
        socketserver.BaseServer.__init__(self, listener.getsockname(), handler)
        self.socket = listener
        self.server_name, self.server_port = listener.getsockname()

    def handle_error(self, *_):
        """A client may go away whenever it likes."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Base of the tests' handlers."""

    def reply(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class MeetingHandler(Handler):
    """Answers once as many requests as meeting_of() was told are there at once; /most tells how many there were."""

    def do_GET(self):
        kind = type(self)
        if self.path == "/most":
            return self.reply(str(kind.most).encode())
        with kind.lock:
            kind.now += 1
            kind.most = max(kind.most, kind.now)
        try:
            kind.barrier.wait(60)
            status = 200
        except threading.BrokenBarrierError:
            status = 503
        with kind.lock:
            kind.now -= 1
        return self.reply(b"met", status)


def meeting_of(number):
    members = {"barrier": threading.Barrier(number), "lock": threading.Lock(), "now": 0, "most": 0}
    return type("Meeting", (MeetingHandler,), members)


def read_request(connection):
    request = b""
    while b"\r\n\r\n" not in request:
        more = connection.recv(4096)
        if not more:
            break
        request += more


class Servers:
    def __init__(self):
        self.sockets = []
        self.accepting = []
        self.process = None

    def http(self, handler):
        """A real HTTP server of python's http.server."""
        listener, port = self._listen()
        self.accepting.append(Server(listener, handler).serve_forever)
        return port

    def replying(self, *parts):
        """Sends `parts` for each request, whatever it was, and closes the connection."""
        listener, port = self._listen()

        def serve():
            while True:
                connection, _ = listener.accept()
                with connection:
                    read_request(connection)
                    for part in parts:
                        connection.sendall(part)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(1)

        self.accepting.append(serve)
        return port

    def replying_half(self, part):
        """Sends `part` for each request and leaves the connection open."""
        listener, port = self._listen()
        kept = []

        def serve():
            while True:
                connection, _ = listener.accept()
                kept.append(connection)
                read_request(connection)
                connection.sendall(part)

        self.accepting.append(serve)
        return port

    def silent(self):
        """The system accepts connections for it; it never answers."""
        return self._listen()[1]

    def refusing(self):
        """A port that nobody listens on and nobody else gets."""
        return self._bind()[1]

    def start(self):
        parent = os.getpid()
        self.process = os.fork()
        if self.process == 0:
            try:
                become(ordinary_user("nobody"))
                end_with_parent(parent)
                for serve in self.accepting:
                    threading.Thread(target=serve, daemon=True).start()
                signal.pause()
            finally:
                os._exit(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        for opened in self.sockets:
            opened.close()

    def _bind(self):
        opened = socket.socket()
        self.sockets.append(opened)
        opened.bind(("127.0.0.1", 0))
        return opened, opened.getsockname()[1]

    def _listen(self):
        opened, port = self._bind()
        opened.listen(256)
        return opened, port

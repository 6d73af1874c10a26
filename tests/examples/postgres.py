"""postgres.py PROGRAM: the example against a real PostgreSQL server, which this starts on loopback and stops."""

import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from harness import Run, check, check_line, skip
from servers import become, end_with_parent, ordinary_user

LIMIT = 5  # seconds; pg_sleep(3600) uses it up
PATIENCE = 120  # seconds, for the server to start and to stop
PROGRAM = sys.argv[1]


def server_folder():
    folders = []
    if shutil.which("pg_config"):
        folders.append(subprocess.check_output(["pg_config", "--bindir"], universal_newlines=True).strip())
    folders += sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True) + ["/usr/local/pgsql/bin"]
    for folder in folders:
        if os.access(os.path.join(folder, "initdb"), os.X_OK) and os.access(os.path.join(folder, "postgres"), os.X_OK):
            return folder
    skip("no PostgreSQL server is installed")


class Database:
    """PostgreSQL refuses to run as root, so it runs as an ordinary user."""

    def __init__(self, folder, data):
        self.folder, self.data = folder, data
        self.user = ordinary_user("postgres", "nobody")
        self.log = []
        self.process = None
        if self.user:
            os.chown(data, self.user.pw_uid, self.user.pw_gid)
        self._call("initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def __enter__(self):
        for _ in range(10):  # another process may take the free port before the server does
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            if self._start():
                return self
        check(False, "PostgreSQL starts:\n" + "".join(self.log))

    def __exit__(self, *_):
        self._stop()

    def ask(self, sql):
        return self._call("psql", "-X", "-h", "127.0.0.1", "-p", str(self.port), "-U", "tester", "-d", "postgres",
                          "-At", "-c", sql).strip()

    def _preparation(self):
        parent = os.getpid()

        def prepare():
            become(self.user)
            end_with_parent(parent, signal.SIGQUIT)

        return prepare

    def _call(self, program, *arguments):
        return subprocess.check_output([os.path.join(self.folder, program)] + list(arguments), cwd=self.data,
                                       universal_newlines=True, timeout=PATIENCE, preexec_fn=self._preparation(),
                                       env=dict(os.environ, LC_ALL="C"))

    def _start(self):
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off",
                    "logging_collector": "off", "log_destination": "stderr", "lc_messages": "C",
                    "dynamic_shared_memory_type": "mmap", "shared_buffers": "16MB"}
        command = [os.path.join(self.folder, "postgres"), "-D", self.data]
        for name, value in settings.items():
            command += ["-c", "%s=%s" % (name, value)]
        self.process = subprocess.Popen(command, cwd=self.data, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, universal_newlines=True, preexec_fn=self._preparation(),
                                        env=dict(os.environ, LC_ALL="C"))
        ready = threading.Event()

        def read_log():
            for line in self.process.stderr:
                self.log.append(line)
                if "ready to accept connections" in line:
                    ready.started = True
                    ready.set()
            ready.set()

        ready.started = False
        self.reader = threading.Thread(target=read_log, daemon=True)
        self.reader.start()
        ready.wait(PATIENCE)
        if not ready.started:
            self._stop()
        return ready.started

    def _stop(self):
        if self.process:
            self.process.send_signal(signal.SIGINT)  # a fast shutdown
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait()
            self.reader.join()
            self.process = None


SLEEPING = "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"

with tempfile.TemporaryDirectory() as data:
    with Database(server_folder(), data) as database:
        where = "hostaddr=127.0.0.1 port=%d user=tester dbname=postgres" % database.port
        run = Run([PROGRAM, where, str(LIMIT)])
        sleeping = database.ask(SLEEPING)
        print("pg_sleep in pg_stat_activity: " + sleeping)

        check(run.code == 0 and len(run.lines) == 11, "ten answers and the time they took")
        for i in range(1, 10):
            check_line(run.lines[i - 1], r"select %d \* %d from pg_sleep\(1\): %d" % (i, i, i * i))
        check_line(run.lines[9], r"select pg_sleep\(3600\): task took longer than %d s; suspended at postgres\.cpp:.*; "
                                 r"still running on the server: 0" % LIMIT)
        took = int(re.fullmatch(r"all together took (\d+) ms", run.lines[10]).group(1))
        check(1000 * LIMIT <= took < 1000 * (LIMIT + 9), "all at once, not one after the other")
        check(sleeping == "0", "the server does not run pg_sleep any more")

        refused = Run([PROGRAM, "hostaddr=127.0.0.1 port=%d user=tester dbname=nowhere" % database.port, str(LIMIT)])
        check(refused.code == 1 and 'database "nowhere" does not exist' in refused.err, "the server's error is told")

    check(sum("canceling statement due to user request" in line for line in database.log) == 1,
          "the server cancelled one statement, by request:\n" + "".join(database.log))

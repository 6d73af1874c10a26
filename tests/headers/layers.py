"""layers.py INCLUDE_DIR HEADER...: the headers, given in layer order with the bottom first, keep that order.

A header includes only headers above it in the list, the list holds every header on disk, all can be reached from the
umbrella (the last one), and only the headers that may know the platform ask for it.
"""

import pathlib
import posixpath
import re
import sys

KNOW_THE_PLATFORM = {"async_worker/config.hpp", "async_worker/poller.hpp", "async_worker/thread_setup.hpp"}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<(sincpro/[^>]+)>|"([^"]+)")', re.M)
CONDITION = re.compile(r"^\s*#\s*(?:el)?if(?:n?def)?\b.*$", re.M)
PLATFORM = re.compile(
    r"\b(?:_?_?(?:WIN32|WIN64|WINNT|linux|unix|APPLE|MACH|ANDROID|FreeBSD|OpenBSD|NetBSD|DragonFly|sun|CYGWIN|MINGW\w*)_?_?"
    r"|_POSIX\w*|_WIN32_WINNT|_GNU_SOURCE|__GLIBC\w*)\b"
    r"|__has_include\w*\s*\(\s*[<\"](?:sys/|windows|winsock|unistd|pthread|poll|signal\.h|sched)"
)


def own_includes(text: str, name: str) -> list[str]:
    """The library's headers that the text of header `name` includes, in angle brackets or relative to its folder."""
    folder = posixpath.dirname(name)
    return [
        posixpath.normpath(posixpath.join(folder, quoted)) if quoted else angled.removeprefix("sincpro/")
        for angled, quoted in INCLUDE.findall(text)
    ]


def faults(include_dir: pathlib.Path, headers: list[str]) -> list[str]:
    found = []
    on_disk = {path.relative_to(include_dir).as_posix() for path in include_dir.rglob("*") if path.is_file()}
    found += [f"{name}: on disk, but not in CMakeLists.txt's list" for name in sorted(on_disk - set(headers))]
    found += [f"{name}: in CMakeLists.txt's list, but not on disk" for name in headers if name not in on_disk]
    found += [f"{name}: twice in CMakeLists.txt's list" for name in sorted(set(headers)) if headers.count(name) > 1]

    above: set[str] = set()
    reached = {headers[-1]}
    for name in headers:
        if name in on_disk:
            text = (include_dir / name).read_text(encoding="utf-8").replace("\\\n", " ")
            included = own_includes(text, name)
            found += [f"{name}: includes {other}, which is not above it in the list" for other in included if other not in above]
            if name not in KNOW_THE_PLATFORM:
                asked = [line.strip() for line in CONDITION.findall(text) if PLATFORM.search(line)]
                found += [f"{name}: asks for the platform: {line}" for line in asked]
        above.add(name)

    for name in reversed(headers):
        if name in reached and name in on_disk:
            reached.update(own_includes((include_dir / name).read_text(encoding="utf-8"), name))
    found += [f"{name}: not reached from {headers[-1]}" for name in headers if name not in reached]
    return found


if __name__ == "__main__":
    report = faults(pathlib.Path(sys.argv[1]), sys.argv[2:])
    print("\n".join(report) or f"{len(sys.argv) - 2} headers, in order")
    sys.exit(1 if report else 0)

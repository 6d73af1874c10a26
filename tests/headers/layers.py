"""layers.py INCLUDE_DIR HEADER...: the headers, given in layer order with the bottom first, keep that order.

A header includes only headers above it in the list, the list holds every header on disk, all can be reached from the
umbrella (the last one). A room of detail/ includes only itself, the rooms below it, and the vocabulary in front. Only the
headers that may know the platform or the compiler ask for it.
"""

import pathlib
import posixpath
import re
import sys

ROOMS = ["base", "loop", "coroutine", "bridge"]  # from the bottom up
VOCABULARY = {f"async_worker/{name}.hpp" for name in ("awaitable", "errors", "result", "worker_options")}
BASE = "async_worker/detail/base/"
LOOP = "async_worker/detail/loop/"
KNOW_THE_PLATFORM = {BASE + "config.hpp", BASE + "thread.hpp", BASE + "atfork_registry.hpp", LOOP + "descriptor.hpp"} | {
    f"{LOOP}{name}poller.hpp" for name in ("", "epoll_", "poll_", "condition_")
}
# The umbrella says what is missing before it includes anything; the others ask for the standard library, not the compiler.
KNOW_THE_COMPILER = {BASE + "config.hpp", BASE + "function.hpp", "async_worker.hpp"}
SOURCE = "async_worker.cpp"
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<(sincpro/[^>]+)>|"([^"]+)")', re.M)
CONDITION = re.compile(r"^\s*#\s*(?:el)?if(?:n?def)?\b.*$", re.M)
PLATFORM = re.compile(
    r"\b(?:_?_?(?:WIN32|WIN64|WINNT|linux|unix|APPLE|MACH|ANDROID|FreeBSD|OpenBSD|NetBSD|DragonFly|sun|CYGWIN|MINGW\w*)_?_?"
    r"|_POSIX\w*|_WIN32_WINNT|_GNU_SOURCE|__GLIBC__\w*)\b"
    r"|__has_include\w*\s*\(\s*[<\"](?:sys/|windows|winsock|unistd|pthread|poll|signal\.h|sched)"
)
COMPILER = re.compile(r"\b(?:__GNUC__|__clang__|__clang_major__|_MSC_VER|__has_feature|__cplusplus)\b")


def own_includes(text: str, name: str) -> list[str]:
    """The library's headers that the text of header `name` includes, in angle brackets or relative to its folder."""
    folder = posixpath.dirname(name)
    return [
        posixpath.normpath(posixpath.join(folder, quoted)) if quoted else angled.removeprefix("sincpro/")
        for angled, quoted in INCLUDE.findall(text)
    ]


def room(name: str) -> str:
    match = re.fullmatch(r"async_worker/detail/(\w+)/\w+\.hpp", name)
    return match.group(1) if match else "front"


def may_include(name: str, other: str) -> bool:
    mine, theirs = room(name), room(other)
    if theirs == "front":
        return mine == "front" and (name not in VOCABULARY or other in VOCABULARY) or other in VOCABULARY
    if mine == "front":
        return name not in VOCABULARY or theirs == "base"
    return ROOMS.index(theirs) <= ROOMS.index(mine)


def faults(include_dir: pathlib.Path, headers: list[str]) -> list[str]:
    found = []
    on_disk = {path.relative_to(include_dir).as_posix() for path in include_dir.rglob("*") if path.is_file()} - {SOURCE}
    found += [f"{name}: on disk, but not in CMakeLists.txt's list" for name in sorted(on_disk - set(headers))]
    found += [f"{name}: in CMakeLists.txt's list, but not on disk" for name in headers if name not in on_disk]
    found += [f"{name}: twice in CMakeLists.txt's list" for name in sorted(set(headers)) if headers.count(name) > 1]
    found += [f"{name}: in a room that the order does not know" for name in headers if room(name) not in [*ROOMS, "front"]]
    if found:
        return found

    texts = {name: (include_dir / name).read_text(encoding="utf-8").replace("\\\n", " ") for name in headers}
    includes = {name: own_includes(text, name) for name, text in texts.items()}
    above: set[str] = set()
    for name in headers:
        found += [f"{name}: includes {other}, which is not above it in the list" for other in includes[name] if other not in above]
        found += [f"{name}: its room may not know {other}" for other in includes[name] if not may_include(name, other)]
        conditions = [line.strip() for line in CONDITION.findall(texts[name])]
        if name not in KNOW_THE_PLATFORM:
            found += [f"{name}: asks for the platform: {line}" for line in conditions if PLATFORM.search(line)]
        if name not in KNOW_THE_COMPILER:
            found += [f"{name}: asks for the compiler: {line}" for line in conditions if COMPILER.search(line)]
        above.add(name)

    reached = {headers[-1]}
    for name in reversed(headers):
        if name in reached:
            reached.update(includes[name])
    found += [f"{name}: not reached from {headers[-1]}" for name in headers if name not in reached]
    return found


def floors_of_rooms(include_dir: pathlib.Path, headers: list[str]) -> int:
    """The longest way down, a room of detail/ counting as one."""
    height: dict[str, int] = {}
    for name in headers:
        here = room(name) if room(name) != "front" else name
        below = own_includes((include_dir / name).read_text(encoding="utf-8"), name)
        others = {room(other) if room(other) != "front" else other for other in below} - {here}
        height[here] = max([height.get(here, 1), *(height[other] + 1 for other in others)])
    return max(height.values())


if __name__ == "__main__":
    report = faults(pathlib.Path(sys.argv[1]), sys.argv[2:])
    print("\n".join(report) or f"{len(sys.argv) - 2} headers, in order; {floors_of_rooms(pathlib.Path(sys.argv[1]), sys.argv[2:])} floors")
    sys.exit(1 if report else 0)

"""compile_alone.py INCLUDE_DIR COMPILER,COMPILER HEADER...: a file that includes nothing but HEADER has no error and no warning.

HEADER is relative to INCLUDE_DIR/sincpro, the last one includes all. The first compiler compiles each of them header-only,
and what a user may name against the compiled library too; the others compile the last one. The macros of <windows.h> and Qt
break none.
"""

import concurrent.futures
import pathlib
import subprocess
import sys
import tempfile

FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
# After the standard headers, some of which do not survive them either.
MACROS = """
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#define small char
#define interface struct
#define slots
#define signals public
"""
AT_ONCE = 6  # files for each process of a compiler
WORKERS = 2


def standard_headers(include_dir: pathlib.Path) -> str:
    found = set()
    for header in include_dir.rglob("*.hpp"):
        for line in header.read_text(encoding="utf-8").splitlines():
            if line.startswith("#include <") and "/" not in line and ".h>" not in line:
                found.add(line)
    return "\n".join(sorted(found))


def main(include_dir: pathlib.Path, compilers: list[str], headers: list[str]) -> int:
    named = [header for header in headers if "detail/" not in header]
    standard = standard_headers(include_dir)
    runs = [(compilers[0], "header-only", headers, ""), (compilers[0], "with macros", headers[-1:], standard + MACROS)]
    if len(headers) > 1:
        runs.append((compilers[0], "compiled", named, "#define SINCPRO_ASYNC_WORKER_COMPILED\n"))
    runs += [(compiler, "header-only", headers[-1:], "") for compiler in compilers[1:]]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        commands = []
        for number, (compiler, _, wanted, before) in enumerate(runs):
            files = []
            for header in wanted:
                file = pathlib.Path(folder, f"{number}_{header.replace('/', '_')}.cpp")
                file.write_text(f"{before}#include <sincpro/{header}>\n", encoding="utf-8")
                files.append(str(file))
            for first in range(0, len(files), AT_ONCE):
                commands.append([compiler, *FLAGS, "-I", str(include_dir), *files[first : first + AT_ONCE]])
        results = list(pool.map(lambda c: subprocess.run(c, capture_output=True, text=True, check=False), commands))
    failed = [result for result in results if result.returncode != 0]
    for result in failed:
        print(result.stderr[:4000])
    for compiler, way, wanted, _ in runs:
        print(f"{compiler}, {way}: {len(wanted)} headers")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:]))

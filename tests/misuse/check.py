"""check.py INCLUDE_DIR [COMPILER...]: every program here does not compile, and the compiler says what to write instead.

The first line of a program is `// expect: text`, a part of the first error, which is the only one unless a second line
`// errors: 5` says how many there may be. A line `// only: g++ < 13` names the compilers that refuse it; all others
must accept it. Compilers that are not there are passed over.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
EXPECT = re.compile(r"// expect: (.+)\n(?:// errors: (\d+)\n)?(?:// only: (\S+) < (\d+)\n)?")
ERROR = re.compile(r"\berror: ")
FOLDER = pathlib.Path(__file__).resolve().parent


def kind_and_version(compiler: str) -> tuple[str, int]:
    def macro(name: str) -> int:
        preprocess = [compiler, "-E", "-P", "-x", "c++", "-"]
        text = subprocess.run(preprocess, input=name, capture_output=True, text=True).stdout.strip()
        return int(text) if text.isdigit() else 0

    clang = macro("__clang_major__")
    return ("clang++", clang) if clang else ("g++", macro("__GNUC__"))


def precompiled(compiler: str, kind: str, include_dir: str, folder: str) -> list[str]:
    """The command that compiles a program: the interfaces are the same for all of them, so they are compiled once."""
    command = [compiler, "-std=c++20", "-I", include_dir, "-DSINCPRO_ASYNC_WORKER_COMPILED"]
    header = pathlib.Path(folder, "all.hpp")
    header.write_text("#include <sincpro/async_worker.hpp>\n", encoding="utf-8")
    output = f"{folder}/all.hpp.gch" if kind == "g++" else f"{folder}/all.pch"
    subprocess.run([*command, "-x", "c++-header", str(header), "-o", output], check=True)
    if kind == "g++":
        return [*command, "-fmessage-length=0", "-include", str(header)]
    return [*command, "-include-pch", output]


def fault(program: pathlib.Path, compiler: list[str], kind: str, version: int) -> str:
    heading = EXPECT.match(program.read_text(encoding="utf-8"))
    if not heading:
        return "its first line is not `// expect: text`"
    text, most, only, below = heading.groups()
    refused = only is None or (only == kind and version < int(below))
    compiled = subprocess.run([*compiler, "-fsyntax-only", str(program)], capture_output=True, text=True,
                              env={**os.environ, "LC_ALL": "C"})
    if not refused:
        return "" if compiled.returncode == 0 else f"does not compile:\n{compiled.stderr[:2000]}"
    if compiled.returncode == 0:
        return "compiles"
    errors = [line for line in compiled.stderr.splitlines() if ERROR.search(line)]
    if not errors or text not in errors[0] or len(errors) > int(most or 1):
        found = "\n".join(errors[:6])
        return f"expected `{text}` and at most {most or 1} in all, but there are {len(errors)} errors:\n{found}"
    return ""


def main(include_dir: str, compilers: list[str]) -> int:
    present = {os.path.realpath(path): path for path in map(shutil.which, compilers or ["g++", "clang++"]) if path}
    if not present:
        print("there is neither g++ nor clang++")
        return SKIPPED
    programs = sorted(FOLDER.glob("*.cpp"))
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for compiler in present.values():
            kind, version = kind_and_version(compiler)
            with tempfile.TemporaryDirectory() as folder:
                command = precompiled(compiler, kind, include_dir, folder)
                faults = pool.map(lambda p: fault(p, command, kind, version), programs)
                for program, message in zip(programs, faults):
                    if message:
                        print(f"{program.name}, {kind} {version}: {message}")
                        failed += 1
            print(f"{kind} {version}: {len(programs)} programs")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

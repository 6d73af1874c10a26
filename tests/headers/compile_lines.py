"""compile_lines.py SOURCE_DIR: the first comment of each example holds the line that compiles it from the top folder."""

import pathlib
import re
import shlex
import shutil
import subprocess
import sys

SKIPPED = 77
COMPILE_LINE = re.compile(r"^// (g\+\+ .*)$", re.M)


def fault(source_dir: pathlib.Path, example: pathlib.Path) -> str:
    text = example.read_text(encoding="utf-8")
    first_comment = re.match(r"(?://.*\n)+", text)
    line = COMPILE_LINE.search(first_comment.group(0)) if first_comment else None
    if not line:
        return "no compile line in its first comment"
    words = shlex.split(line.group(1).split("&&")[0])
    path = example.relative_to(source_dir).as_posix()
    if path not in words or words[words.index("-o") + 1 :][:1] != [example.stem]:
        return f"its compile line does not make {example.stem} from {path}"
    if any(word.startswith(("-l", "$(")) for word in words):
        return ""  # needs a library that may not be installed
    # Nothing is written: the build has compiled the file already, this is about the flags and paths of the line.
    checked = subprocess.run([*words, "-fsyntax-only"], cwd=source_dir, capture_output=True, text=True)
    errors = [line for line in checked.stderr.splitlines() if "error" in line]
    return "\n".join(errors[:3] or [checked.stderr]) if checked.returncode else ""


def main(source_dir: pathlib.Path) -> int:
    if not shutil.which("g++"):
        print("there is no g++")
        return SKIPPED
    status = 0
    for example in sorted((source_dir / "examples").glob("*.cpp")):
        message = fault(source_dir, example)
        if message:
            print(f"{example.name}: {message}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))

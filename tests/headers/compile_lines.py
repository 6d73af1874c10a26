"""compile_lines.py SOURCE_DIR: the first comment of each example holds the line that compiles it from the top folder.

That such a line compiles is what the consumer test `plain` shows.
"""

import pathlib
import re
import sys


def main(source_dir: pathlib.Path) -> int:
    status = 0
    for example in sorted((source_dir / "examples").glob("*.cpp")):
        name = example.stem
        first_comment = re.match(r"(?://.*\n)*", example.read_text(encoding="utf-8")).group(0)
        wanted = rf"^// g\+\+ -std=c\+\+20 -Iinclude (?:-I\S.* )?examples/{name}\.cpp -o {name} -pthread( |$)"
        if not re.search(wanted, first_comment, re.M):
            print(f"{example.name}: no line in its first comment compiles it")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))

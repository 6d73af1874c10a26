"""compile_lines.py SOURCE_DIR: the first comment of each example says what it shows and holds the line that compiles it
from the top folder; an example that needs no other system has at most 70 lines.

That such a line compiles is what the consumer test `plain` shows.
"""

import pathlib
import re
import sys

MOST_LINES = 70
MAY_BE_LONGER = {"curl_multi", "http_get", "postgres", "web_handler"}


def main(source_dir: pathlib.Path) -> int:
    status = 0
    for example in sorted((source_dir / "examples").glob("*.cpp")):
        name = example.stem
        text = example.read_text(encoding="utf-8")
        first_comment = re.match(r"(?://.*\n)*", text).group(0)
        wanted = rf"^// g\+\+ -std=c\+\+20 -Iinclude (?:-I\S.* )?examples/{name}\.cpp -o {name} -pthread( |$)"
        if not re.search(wanted, first_comment, re.M):
            print(f"{example.name}: no line in its first comment compiles it")
            status = 1
        if re.match(r"// g\+\+ |(?!//)", text):
            print(f"{example.name}: its first line does not say what it shows")
            status = 1
        if text.count("\n") > MOST_LINES and name not in MAY_BE_LONGER:
            print(f"{example.name}: {text.count(chr(10))} lines, and {MOST_LINES} are the most")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))

"""readme.py SOURCE_DIR: the first C++ block of each README is examples/quickstart.cpp, to the letter."""

import difflib
import pathlib
import re
import sys

SKIPPED = 77


def main(source_dir: pathlib.Path) -> int:
    example = (source_dir / "examples" / "quickstart.cpp").read_text(encoding="utf-8")
    readmes = sorted(source_dir.glob("README*.md"))
    if not readmes:
        print("there is no README")
        return SKIPPED
    status = 0
    for readme in readmes:
        block = re.search(r"^```(?:cpp|c\+\+)\n(.*?)^```$", readme.read_text(encoding="utf-8"), re.M | re.S)
        text = block.group(1) if block else ""
        if text != example:
            print(f"{readme.name}: its first code block is not examples/quickstart.cpp")
            print("".join(difflib.unified_diff(text.splitlines(True), example.splitlines(True), readme.name, "quickstart.cpp")))
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))

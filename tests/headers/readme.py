"""readme.py SOURCE_DIR: the READMEs are short, say the same, and what they show is in the repository.

Every C++ block is an example to the letter, the first one the quickstart. Every link leads to a file, and every example
is linked. Both languages have the same commands, code, headings, lists and tables.
"""

import pathlib
import re
import sys

MOST_LINES = 250
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\[[^\]]+\]\(([^):#]+)\)")


def blocks(text: str, *languages: str) -> list[str]:
    return [block for language, block in BLOCK.findall(text) if language in languages]


def shape(text: str) -> list[str]:
    """What a translation keeps: headings, list items and table rows, each with its number of cells."""
    text = BLOCK.sub("", text)
    kinds = re.findall(r"^(#+ |- |\|)(.*)$", text, re.M)
    return [kind + str(rest.count(" | ")) if kind == "|" else kind for kind, rest in kinds]


def faults(source_dir: pathlib.Path) -> list[str]:
    texts = {name: (source_dir / name).read_text(encoding="utf-8") for name in ("README.md", "README.es.md")}
    examples = {path.name: path.read_text(encoding="utf-8") for path in (source_dir / "examples").glob("*.cpp")}
    layers = blocks((source_dir / "tests" / "reference" / "layers.md").read_text(encoding="utf-8"), "")
    found = []
    for name, text in texts.items():
        lines = text.count("\n")
        if lines >= MOST_LINES:
            found.append(f"{name}: {lines} lines, and {MOST_LINES - 1} are the most")
        code = blocks(text, "cpp", "c++")
        if code[:1] != [examples["quickstart.cpp"]]:
            found.append(f"{name}: its first C++ block is not examples/quickstart.cpp")
        found += [f"{name}: not an example: {block.splitlines()[0]}" for block in code if block not in examples.values()]
        links = LINK.findall(text)
        found += [f"{name}: leads nowhere: {link}" for link in links if not (source_dir / link).exists()]
        found += [f"{name}: does not link examples/{e}" for e in sorted(examples) if f"examples/{e}" not in links]
    english, spanish = texts.values()
    if blocks(english, "cpp", "sh", "cmake") != blocks(spanish, "cpp", "sh", "cmake"):
        found.append("README.es.md: its code and commands are not those of README.md")
    if shape(english) != shape(spanish):
        found.append("README.es.md: its headings, lists and tables are not those of README.md")
    if blocks(english, "")[:1] != layers[:1]:
        found.append("README.md: its picture of the layers is not that of tests/reference/layers.md")
    return found


if __name__ == "__main__":
    report = faults(pathlib.Path(sys.argv[1]))
    print("\n".join(report) or "both are as they should be")
    sys.exit(1 if report else 0)

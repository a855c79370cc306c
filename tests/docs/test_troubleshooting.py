"""The messages that docs/troubleshooting.md explains are those that the code has."""

import ast
import re

from conftest import REPOSITORY


PAGE = REPOSITORY / "docs" / "troubleshooting.md"
# On the page, … stands for what differs from case to case.
_GAP = "…"


def strings_of_the_code() -> set[str]:
    """All strings and f-strings of the package, with gaps for what is put in."""
    found = set()
    for path in (REPOSITORY / "ofa_transformers").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.sub("%[sdr]", _GAP, node.value))  # logged ones are formatted late
            elif isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else _GAP for part in node.values]
                found.add(re.sub(f"{_GAP}+", _GAP, "".join(parts)))
    return found


def test_quoted_messages_are_in_the_code():
    quoted = re.findall(r"^```text\n(.*?)\n```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(quoted) > 30
    code = strings_of_the_code()
    missing = [message for message in quoted if not any(message in string for string in code)]
    assert not missing, f"{PAGE.name} explains messages that the code doesn't have: {missing}"

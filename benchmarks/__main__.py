"""Run one benchmark by name, or list them all.

python -m benchmarks                       # every benchmark, and what it measures
python -m benchmarks memory_plan --check   # run one; --help after its name shows its options

`python PATH/benchmarks NAME` does the same from any folder.
"""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
EXIT_USAGE = 2


def find_benchmarks() -> dict[str, Path]:
    """Every script that has a main program, by name."""
    scripts = (path for path in sorted(FOLDER.rglob("*.py")) if path.stem not in ("__main__", "__init__"))
    return {path.stem: path for path in scripts if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")}


def describe(path: Path) -> str:
    """The first line of a script's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def main() -> int:
    found = find_benchmarks()
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        width = max(map(len, found))
        print("\n".join(f"{name:{width}}  {describe(path)}" for name, path in found.items()))
        return 0
    name = sys.argv.pop(1)
    if name not in found:
        print(f"no benchmark {name!r}; `python -m benchmarks` lists them", file=sys.stderr)
        return EXIT_USAGE
    module = ".".join(found[name].relative_to(FOLDER.parent).with_suffix("").parts)
    sys.path.insert(0, str(FOLDER.parent))
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.audit_packages`: report published advisories on the locked packages; pip-audit asks PyPI for them.

It exits with 1 if there is an advisory. Where PyPI's database is out of reach, it says so in one line and exits with 0, so that
a machine without a network can lint. pip-audit alone skips packages that the index does not know, and then reports "no known
vulnerabilities".
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "torch.lock")


def audit() -> subprocess.CompletedProcess[str]:
    """Run pip-audit on both locks. It installs nothing."""
    files = [part for lock in LOCKS for part in ("--requirement", str(ROOT / lock))]
    options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", *files, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def verdict(output: str, errors: str) -> tuple[int, list[str]]:
    """The exit code, and the lines to print.

    Args:
        output: pip-audit's JSON, or nothing if it failed.
        errors: its other output.
    """
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except ValueError:
        reason = (errors.strip().splitlines() or ["no message"])[-1]
        return 0, [f"audit: not done, because pip-audit cannot ask for advisories here ({reason[:200]})"]
    checked = [package for package in packages if "skip_reason" not in package]
    found = [
        f"audit: {package['name']} {package['version']}: {advisory['id']}, fixed in {', '.join(advisory['fix_versions'])}"
        for package in checked
        for advisory in package["vulns"]
    ]
    if not checked:
        return 0, [f"audit: not done, because the index here knows no advisories ({len(packages)} packages skipped)"]
    summary = f"audit: {len(found)} advisories on {len(checked)} packages; {len(packages) - len(checked)} skipped"
    return int(bool(found)), [*found, summary]


def main() -> int:
    done = audit()
    code, lines = verdict(done.stdout, done.stderr)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())

"""Looks up all installed packages in the list of known vulnerabilities: `python -m tools.audit
[--must]`.

Exits with 1 if a package has one. If the list cannot be reached, as behind a mirror that has only
packages, it says that nothing was audited, and why; with --must that is an error too.
"""

import json
import subprocess
import sys


def run_pip_audit():
    "pip-audit's list of packages, or a message why there is none."
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--format",
        "json",
        "--progress-spinner",
        "off",
        "--skip-editable",
        "--timeout",
        "20",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return json.loads(result.stdout)["dependencies"]
    except (ValueError, KeyError):
        return (result.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]


def main():
    packages = run_pip_audit()
    if isinstance(packages, str):
        problem = packages
    else:
        vulnerable = [
            f"{each['name']} {each['version']}: {vulnerability['id']}, fixed in"
            f" {', '.join(vulnerability['fix_versions']) or 'no version yet'}"
            for each in packages
            for vulnerability in each.get("vulns", ())
        ]
        if vulnerable:
            sys.exit("known vulnerabilities:\n" + "\n".join(vulnerable))
        others = [each for each in packages if each["name"] != "mnist-nb"]
        skipped = [each for each in others if "skip_reason" in each]
        if not skipped:
            return print(f"{len(others)} packages audited, none has a known vulnerability")
        problem = (
            f"the list has no answer for {len(skipped)} of {len(others)} packages; for one:"
            f" {skipped[0]['skip_reason']}"
        )
    print(f"NOT AUDITED: {problem}")
    sys.exit(1 if "--must" in sys.argv else 0)


if __name__ == "__main__":
    main()

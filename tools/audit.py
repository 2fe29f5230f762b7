"""Looks up every installed package in the index's list of known faults: `python -m tools.audit
[--must]`.

Exits with 1 where a package has one. Where the list cannot be reached, as behind a mirror that
serves packages alone, it says that nothing was audited, and why; with --must that is an error too.
"""

import json
import subprocess
import sys


def audited():
    "What pip-audit found: a list of packages, or a text that says why there is none."
    words = [
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
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]


def main():
    found = audited()
    if isinstance(found, str):
        problem = found
    else:
        bad = [
            f"{each['name']} {each['version']}: {fault['id']}, cured in"
            f" {', '.join(fault['fix_versions']) or 'no version yet'}"
            for each in found
            for fault in each.get("vulns", ())
        ]
        if bad:
            sys.exit("known faults:\n" + "\n".join(bad))
        others = [each for each in found if each["name"] != "mnist-nb"]
        left = [each for each in others if "skip_reason" in each]
        if not left:
            return print(f"{len(others)} packages audited, none has a known fault")
        problem = (
            f"the list of faults does not answer for {len(left)} of {len(others)} packages, for"
            f" one: {left[0]['skip_reason']}"
        )
    print(f"NOT AUDITED: {problem}")
    sys.exit(1 if "--must" in sys.argv else 0)


if __name__ == "__main__":
    main()

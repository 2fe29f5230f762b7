"""The fault catalogue, each row with the tests that prove it: `python -m tools.faults [--write]`.

Runs tests/faults and counts, for each row, the tests named after its number (`test_08_mutated_bytes`), or after several. Exits with 1 where a row has no test or one that fails.
With --write the result is kept in tests/faults/result.json, where the README finds it.
"""
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

FOLDER = Path(__file__).parent.parent/'tests'/'faults'


def outcomes():
    "For each row the outcomes of its tests: 'passed', 'failed' or 'skipped'."
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder)/'report.xml'
        subprocess.run([sys.executable, '-m', 'pytest', FOLDER, '-q', '-p', 'no:cacheprovider', f'--junitxml={report}'], cwd=FOLDER.parent.parent, check=False)
        found = defaultdict(list)
        for case in ElementTree.parse(report).iter('testcase'):
            outcome = 'failed' if {'failure', 'error'} & {each.tag for each in case} else 'skipped' if case.find('skipped') is not None else 'passed'
            for number in re.findall(r'\d\d(?=_)', re.match(r'test_((?:\d\d_)*)', case.get('name'))[1]): found[int(number)].append(outcome)
    return found


def main():
    found = outcomes()
    rows = [row | {kind: found[row['number']].count(kind) for kind in ('passed', 'failed', 'skipped')} for row in json.loads((FOLDER/'catalogue.json').read_text(encoding='utf8'))]
    for row in rows: print(f"{row['number']:>2}  {row['tier']:<4} {row['passed']:>4} passed {row['failed']:>3} failed {row['skipped']:>3} skipped  {row['fault']}")
    if '--write' in sys.argv: (FOLDER/'result.json').write_text(json.dumps(rows, indent=1, ensure_ascii=False) + '\n', encoding='utf8')
    bare = [row['number'] for row in rows if not row['passed'] or row['failed']]
    print(f"\n{len(rows) - len(bare)} of {len(rows)} rows are proven" + f"; not: {', '.join(map(str, bare))}"*bool(bare))
    sys.exit(1 if bare else 0)


if __name__ == '__main__': main()

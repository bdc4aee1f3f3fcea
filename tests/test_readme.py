"""The README says what the tables say, and its example runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

from rrmlab.command import readme

ROOT = Path(__file__).resolve().parents[1]


def test_numbers_are_those_of_the_tables():
    assert readme.filled(ROOT) == (ROOT / "README.md").read_text(encoding="utf-8")


def test_example_runs(tmp_path):
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)[1]
    # Smaller numbers, the same lines.
    for large, small in (("50_000", "2_000"), ("1_000", "20"), ("num_episodes=20", "num_episodes=2")):
        assert large in example
        example = example.replace(large, small)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", example],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Scores(sum_rate=") == 2


def test_links_and_pictures_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert not missing

"""The long search: a million cases over all targets, and a table of what came of it.

`PYTHONPATH=tests python -m fuzz.soak --cases 1000000` (`make soak` does that). Each target searches
in a process of its own (`guided`); a finding is made shorter and stays in the folder of `--keep`.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fuzz.guard import checked, shrunk
from fuzz.registry import Target
from fuzz.targets import TARGETS


def search(target: Target, cases: int, seed: int, keep: Path) -> dict[str, object]:
    """Search one target; its line of the table."""
    found = keep / target.name
    found.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fuzz.guided", target.name, f"-runs={cases}", f"-seed={seed}"]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="geoquarry-fuzz-") as grown:
        done = subprocess.run(
            [*command, f"-artifact_prefix={found}/", grown],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    ran = [int(n) for n in re.findall(r"^#(\d+)", done.stdout, re.MULTILINE)]
    line: dict[str, object] = {
        "target": target.name,
        "cases": max(ran, default=0),
        "seconds": round(time.monotonic() - began, 1),
        "branches": max(map(int, re.findall(r" cov: (\d+)", done.stdout)), default=0),
        "finding": "",
    }
    if done.returncode:
        line["finding"] = _explained(target, done.stdout, found)
    return line


def _explained(target: Target, said: str, folder: Path) -> str:
    """The last words of a run that ended early; its case is made shorter."""
    for path in sorted(folder.glob("crash-*")):
        data = path.read_bytes()
        kind = _raises(target, data)
        if kind is not None:
            short = shrunk(lambda case, kind=kind: _raises(target, case) is kind, data)  # type: ignore[misc]
            path.with_name(f"short-{path.name}").write_bytes(short)
    lines = [line for line in said.splitlines() if line.strip()]
    traced = [n for n, line in enumerate(lines) if "Uncaught Python exception" in line]
    told = lines[traced[-1] + 1 : traced[-1] + 2] if traced else lines[-1:]
    return " ".join(told)[:300] or "it ended without a word"


def _raises(target: Target, data: bytes) -> type[Exception] | None:
    try:
        checked(target, data)
    except Exception as error:
        return type(error)
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Search all targets; 1 when anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="*", help="only these")
    parser.add_argument("--cases", type=int, default=1_000_000, help="over all targets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="of findings")
    args = parser.parse_args(argv)
    chosen = [TARGETS[name] for name in args.target or TARGETS]
    whole = sum(target.share for target in TARGETS.values())
    total, findings, began = 0, 0, time.monotonic()
    for target in chosen:
        cases = -(-args.cases * target.share // whole)
        line = search(target, cases, args.seed, args.keep)
        total += int(str(line["cases"]))
        findings += bool(line["finding"])
        print(
            f"{line['target']:16}{line['cases']:>9} cases {line['seconds']:>8} s "
            f"{line['branches']:>6} branches  {line['finding'] or 'nothing found'}",
            flush=True,
        )
    print(f"{total} cases in {time.monotonic() - began:.0f} s, {findings} targets with a finding.")
    return 1 if findings or total < args.cases * sum(t.share for t in chosen) // whole else 0


if __name__ == "__main__":
    raise SystemExit(main())

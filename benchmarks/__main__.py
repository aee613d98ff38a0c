"""`python -m benchmarks NAME`: which benches there are, and their options."""

import argparse
import json
import sys
from pathlib import Path

from . import opening, stalls


def main(arguments: list[str]) -> int:
    """Run a bench; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True)
    bench = benches.add_parser("stalls", help=stalls.__doc__)
    bench.add_argument("--megapixels", type=float, default=24.0)
    bench.add_argument("--repeats", type=int, default=5)
    bench.add_argument("--only", nargs="*", choices=stalls.NAMES, help="these actions alone")
    bench.add_argument("--settle", type=float, default=stalls.SETTLE_S, metavar="SECONDS",
                       help="leave the window alone so long around an action")  # fmt: skip
    bench.add_argument("--json", type=Path, help="write the figures here, too")
    child = benches.add_parser(opening.CHILD, help="used by `stalls`: one opening of a dock")
    child.add_argument("who", choices=opening.WHO)
    child.add_argument("settle", type=float)
    given = parser.parse_args(arguments)
    if given.bench == opening.CHILD:
        opening.child(given.who, given.settle)
    names = given.only or stalls.NAMES
    rows = stalls.measure(given.megapixels, given.repeats, names, given.settle)
    print(stalls.table(rows, given.megapixels))
    if given.json is not None:
        given.json.write_text(json.dumps(stalls.as_json(rows, given.megapixels), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How long `tagbox --help` takes, process start to exit, beside a bare interpreter and `import torch`.

    python benchmarks/help_time.py

The bare interpreter is the part nobody can save; importing torch is what a command line pays that
loads its libraries before it knows what it was asked.
"""

from __future__ import annotations

import argparse
import sys

from timing import alternated, machine, ratio, report, run, summary, tagbox_command


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    commands = {
        "tagbox --help": [*tagbox_command(), "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
    }
    for command in commands.values():  # once unmeasured: bytecode and disk cache are warm after it
        run(command)
    times = alternated(
        {
            name: (lambda command=command: run(command).seconds)
            for name, command in commands.items()
        },
        options.repeats,
    )
    report(
        {
            "machine": machine(["tagbox", "cyclopts", "torch"]),
            "seconds": {name: summary(values) for name, values in times.items()},
            "times_faster_than_importing_torch": ratio(
                times["python -c 'import torch'"], times["tagbox --help"]
            ),
        }
    )


if __name__ == "__main__":
    main()

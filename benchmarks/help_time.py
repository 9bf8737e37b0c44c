"""How long `tagbox --help` and a misspelt command or flag take, beside a bare interpreter and `import torch`.

    python benchmarks/help_time.py

Each from the start of the process to its exit. The bare interpreter is the part nobody can save; importing
torch is what a command line pays that loads its libraries before it knows what it was asked.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from timing import alternated, machine, ratio, report, run, summary, tagbox_command


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    tagbox = tagbox_command()
    commands = {
        "tagbox --help": ([*tagbox, "--help"], 0),
        "tagbox train classifier --help": ([*tagbox, "train", "classifier", "--help"], 0),
        "tagbox trian": ([*tagbox, "trian"], 2),
        "tagbox check --strcit": ([*tagbox, "check", "data.json", "--strcit"], 2),
        "python -c pass": ([sys.executable, "-c", "pass"], 0),
        "python -c 'import torch'": ([sys.executable, "-c", "import torch"], 0),
    }

    def seconds(words: list[str], exit_code: int) -> float:
        return run(words, exit_code=exit_code).seconds

    for command in commands.values():  # once unmeasured: bytecode and disk cache are warm after it
        seconds(*command)
    times = alternated(
        {name: partial(seconds, *command) for name, command in commands.items()}, options.repeats
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

"""`python -m tagbox` is the `tagbox` command."""

from tagbox.cli.app import main

main()

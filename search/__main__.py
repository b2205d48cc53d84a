"""Runs `tune` as `python -P -m search`, also where another package's script has the name `tune`."""

import sys
from pathlib import Path

if __name__ == "__main__":  # worker processes import this module too, under another name
    if not sys.flags.safe_path and Path(sys.path[0]) != Path(__file__).parents[1]:
        # Without -P Python looks for every module in the current folder first: also for our package `data`.
        del sys.path[0]
    from search.cli.app import main

    main()

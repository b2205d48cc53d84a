"""The process that runs training code: `python /path/to/tune/serve.py train.py:train [ARGUMENT ...]`.

Started by tune with the descriptors of docs/protocol.md in its environment. The interpreter that runs
it needs no installation of tune: the package is loaded from this folder. Processes that multiprocessing
starts run this file too, as `__mp_main__`, and get the same.
"""

import os
import sys

if sys.version_info < (3, 9):  # noqa: UP036 - the user's interpreter: any Python 3 must read this file
    told = "needs Python 3.9 or newer (this is {}.{})".format(*sys.version_info[:2])
    if "TUNE_ANSWERS" in os.environ:
        os.write(int(os.environ["TUNE_ANSWERS"]), ('{"failed": {"message": "' + told + '"}}\n').encode())
    sys.exit(told)

if __name__ == "__main__" and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]  # this folder: its modules are not top-level ones


def _load_tune():  # type: () -> None
    """Imports `tune` by its location: the folder above has packages with names that users have, too."""
    import importlib.util
    from pathlib import Path

    if "tune" in sys.modules:
        return
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "tune", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tune"] = module
    spec.loader.exec_module(module)


_load_tune()

if __name__ == "__main__":
    from tune.process import main

    main(sys.argv[1:])
elif __name__ == "__mp_main__":
    from tune.loading import prepare_child

    prepare_child()

"""`import tune` in processes that training code starts by other means than multiprocessing, such as joblib's.

They get the import path of the process that started them, which has this folder, and not what that process
has loaded by its location: the interpreter may have no tune installed.
"""

import runpy
import sys
from pathlib import Path

del sys.modules[__name__]  # serve.py puts the package in its place
runpy.run_path(str(Path(__file__).resolve().parents[1] / "serve.py"), run_name="__mp_main__")

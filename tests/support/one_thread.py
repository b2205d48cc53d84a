"""One thread for the libraries of numbers, in this process and in every one that a test starts.

Several tests run side by side, and the second thread of a small matrix product only spins. Import this before
torch and NumPy: both read the environment once.
"""

from __future__ import annotations

import os

for _library in ("OMP", "MKL", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

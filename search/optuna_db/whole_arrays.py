"""Makes TPE's draws cheaper: logarithms of the normal distribution by whole arrays."""

from __future__ import annotations

from search.optuna_db.installed import is_tested


def use_whole_arrays() -> bool:
    """Lets TPE take logarithms of the normal distribution by whole arrays, and says whether it does.

    Optuna, which must do without SciPy, calls a Python function for each number: half of the cost of a
    draw. SciPy's values differ by less than 1e-15, which a test holds against the replaced function. An
    Optuna that was not tested, or that has no such function, keeps its own.
    """
    if not is_tested():
        return False
    try:
        from optuna.samplers._tpe import _truncnorm
    except ImportError:
        return False
    if not hasattr(_truncnorm, "_log_ndtr"):
        return False
    from scipy.special import log_ndtr  # type: ignore[import-untyped]  # SciPy ships no types

    _truncnorm._log_ndtr = log_ndtr
    return True

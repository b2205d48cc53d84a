"""The objective whose trials run a user's training code, in a separate process."""

from __future__ import annotations

from collections.abc import Callable

from search.objectives.base import Joining, Objective, OpenObjective
from search.records import DeclaredSpec, StudySpec

CODE = "code"
"""Its name in the registry."""


class CodeObjective(Objective):
    """Runs training code. The study's `DeclaredSpec` has what `declared.CodeOptions` reads."""

    name = CODE

    def make_ready(self, spec: StudySpec, stage: Callable[[str], None]) -> DeclaredSpec:
        """Starts the code once: what is wrong with it is told before any trial is made.

        Raises AbsentHere where it cannot be started here, ConfigError where it declares another search.
        """
        from search.objectives.external.declared import CodeOptions, hello_of, refuse_change, spec_now

        assert isinstance(spec, DeclaredSpec), "the registry finds this objective for no other"
        options = CodeOptions.of(spec)
        stage(f"reading {options.objective}")
        now = spec_now(spec, hello_of(options.objective, options.command, options.folder))
        refuse_change(spec, now)
        return now

    def open(self, joining: Joining) -> OpenObjective:
        from search.objectives.external.open_code import open_code

        return open_code(joining)


CODE_OBJECTIVE = CodeObjective()

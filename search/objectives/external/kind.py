"""The objective whose trials run a user's training code, in a separate process."""

from __future__ import annotations

from search.objectives.base import Joining, Objective, OpenObjective

CODE = "code"
"""Its name in the registry."""


class CodeObjective(Objective):
    """Runs training code. The study's `DeclaredSpec` has what `options.CodeOptions` reads."""

    name = CODE

    def open(self, joining: Joining) -> OpenObjective:
        from search.objectives.external.open_code import open_code

        return open_code(joining)


CODE_OBJECTIVE = CodeObjective()

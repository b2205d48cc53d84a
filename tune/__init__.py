"""The settings of your own training code, and what a search may choose for them.

    space = tune.Space(
        lr=tune.Float(1e-4, 1e-1, log=True),
        depth=tune.Int(1, 4),
        optimizer=tune.Choice(["sgd", "adam"]),
        momentum=tune.Float(0.0, 0.99, when={"optimizer": "sgd"}),
    )

Imports the standard library only and runs on Python 3.9: your own interpreter imports it.
"""

from tune.space import Choice, Float, Int, Space, SpaceError

__all__ = ["Choice", "Float", "Int", "Space", "SpaceError"]

"""What `tune ablate --json` says of an ablation that is not finished, for programs."""

from __future__ import annotations

from dataclasses import replace

from made_ablation import PATH, VARIANTS, made_ablation

from search.cli.ablate import ablation_json


def test_what_is_missing_is_told_apart() -> None:
    found = ablation_json(
        made_ablation(
            [VARIANTS[0], *VARIANTS[4:], PATH[0]],
            later=[replace(VARIANTS[1], waits=1)],
            chooses={"batch_size=128, lr=0.01": {"lr": 0.01}, "course-conv + optimizer": {}},
        )
    )
    assert found["finished"] is False
    assert found["follow"] == ["batch_size=128"]
    assert [each["arm"] for each in found["not_compared_yet"]] == ["optimizer=sgd"]
    assert {each["seeds"] for each in found["settings"]} == {3}


def test_each_path_is_told_without_verdicts() -> None:
    second = [
        replace(each, name=each.name.replace("conv", "mlp"), fails=place)
        for place, each in enumerate(PATH[:2])
    ]
    found = ablation_json(made_ablation([*VARIANTS, *PATH, *second]))
    whole, failed = found["paths"]
    assert (whole["reference"], whole["changes"], whole["measured"]) == ("course-conv", 4, 4)
    assert all(step["pointwise"] and not step["family"] and not step["verdict"] for step in whole["steps"])
    assert (failed["reference"], failed["steps"]) == ("course-mlp", [])
    assert failed["failed"] == ["course-mlp + optimizer"]

"""Which settings helped to generalise.
Knows nothing of how the sentences are worked out.
"""

from __future__ import annotations

from search.report.html import Html, paragraph, subheading, table
from search.report.one_study import generalisation
from search.report.one_study.basis import comparable
from search.report.one_study.effects import Effect
from search.report.one_study.findings import Findings
from search.report.one_study.material import LEADERS, Material
from search.report.one_study.outcomes import leaders
from search.report.page import Chart, Grid, Section
from search.report.words import p_value, signed


def generalised(material: Material, found: Findings) -> Section:
    """Which settings were conducive to generalisation."""
    spec = material.study.spec
    body: list[Html | Chart | Grid] = [
        paragraph(
            "To generalise is to be right on digits that training never saw. The validation accuracy says "
            "how well a network does; the gap between train and validation says how much it learnt by heart "
            "instead."
        ),
        *[paragraph(each, kind="answer") for each in in_words(material, found)],
        subheading("Late in training"),
    ]
    if found.late is None:
        body.append(
            paragraph(
                "Not enough data to tell: fewer than twelve trials were trained for more than an epoch, and "
                "before that no example is seen twice. A study without pruning (--pruner none) tells more."
            )
        )
    else:
        body += [
            paragraph(each)
            for each in generalisation.regularised(
                found.late_accuracy, found.late_gap, found.late, epoch_images=spec.epoch_images
            )
        ]
        by_name = {each.setting.name: each for each in found.late_gap}
        rows = [
            (each.setting.name, str(each.n), _verdict(each), _verdict(by_name[each.setting.name]))
            for each in found.late_accuracy
        ]
        if rows:
            body.append(
                table(
                    ("setting", "n", "validation accuracy", "gap, train − validation"), rows, words=(0, 2, 3)
                )
            )
    best = [t for t in leaders(material.trials, LEADERS) if t.reference is None]
    tried = [t for t in comparable(material.trials) if t.number in material.at_random]
    beside = "drawn at random" if len(tried) >= LEADERS else "all that were tried"
    common = [
        (each.setting, each.best, each.tried)
        for each in generalisation.company(
            material.settings, best, tried if len(tried) >= LEADERS else comparable(material.trials)
        )
    ]
    if common and len(best) == LEADERS:
        body += [
            subheading("What the ten best have in common"),
            table(("setting", "the ten best", beside), common, words=(0, 1, 2)),
            paragraph(
                "A description, not a test: the sampler liked some of these settings early and proposed "
                "them more often.",
                kind="note",
            ),
        ]
    return Section(heading="Which settings helped to generalise?", body=tuple(body))


def in_words(material: Material, found: Findings) -> list[str]:
    """The answer, sentence by sentence."""
    if found.basis is None:
        return ["Cannot be told yet: no trial of the search has come to a report."]
    return generalisation.which(found.effects, found.basis, epoch_images=material.study.spec.epoch_images)


def _verdict(effect: Effect) -> str:
    if effect.tested is None:
        return "not enough data"
    way = f"rank correlation {signed(effect.trend.rho)}, " if effect.trend else f"best {effect.best.label}, "
    return f"{way}{p_value(effect.tested.p)}"

"""What the level `group` makes of all participants: tables over the cohort."""

from __future__ import annotations

from neuraxis.artifacts.row import Column, row

WHO = {
    "participant_id": Column("", "the participant", text=True),
    "session_id": Column("", "the session; n/a when there is none", text=True),
    "image": Column("", "the image, by its name without extension", text=True),
}
"""Columns in front of every table of a participant, and of those of many that are told by image."""

_WHAT = {
    "acquisition": Column("", "name of the image without participant, session and run", text=True),
    "map": Column("", "what is measured, by its name in the glossary", text=True),
    "unit": Column("", "unit of the figures", text=True),
    "region": Column("", "structure", text=True),
    "hemisphere": Column("", "L, R, LR for both together, B in the middle", text=True),
}

ROWS = (
    row(
        "region_outliers",
        "Who lies apart in a region",
        "",
        "(N,)",
        "one row per value beyond the limit, the farthest first",
        kind="table",
        columns=WHO | _WHAT | {
            "value": Column("", "mean of the map in the region; unit as in the column unit, as for the next one"),
            "median": Column("", "median over all"),
            "robust_z": Column("1", "distance from the median over 1.4826 median absolute deviations"),
        },
    ),
    row(
        "template_rounds",
        "Rounds of the group's template",
        "",
        "(N,)",
        "one row per round",
        kind="table",
        columns={
            "round": Column("", "number of the round", whole=True),
            "heads": Column("", "heads in the mean", whole=True),
            "drift": Column("mm", "root mean square, in the brain, of what the mean of the heads' shapes was off the template"),
            "change": Column("1", "root mean square of the change of the magnitude, over its standard deviation in the brain"),
            "similarity": Column("1", "mean correlation of the heads' magnitudes with the template's"),
            "sharpness": Column("1/mm", "mean gradient of the template's magnitude over its standard deviation in the brain"),
        },
    ),
    row(
        "template_heads",
        "How the heads lie on the group's template",
        "",
        "(N,)",
        "one row per image",
        kind="table",
        columns=WHO | {
            "in_mean": Column("", "whether the image is one of those that the template was made of: 1 or 0", whole=True),
            "overlap": Column("1", "Dice overlap of the brain with that of the template"),
            "similarity": Column("1", "correlation of the magnitude with that of the template"),
            "trusted": Column("", "whether the overlap is large enough: 1 or 0", whole=True),
        },
    ),
    row(
        "region_models",
        "What the mean in a region goes with",
        "",
        "(N,)",
        "one row per effect of age, sex, group or session",
        kind="table",
        columns=_WHAT | {
            "effect": Column("", "age, sex, group or session", text=True),
            "compared": Column("", "what the estimate is: per year, or one kind less another", text=True),
            "adjusted_for": Column("", "what else is in the model", text=True),
            "participants": Column("", "how many are compared", whole=True),
            "estimate": Column("", "effect; unit as in the column unit, per year for age"),
            "low": Column("", "lower end of its 95 % confidence interval"),
            "high": Column("", "upper end"),
            "standardised": Column("1", "estimate over the residual standard deviation"),
            "p": Column("1", "probability of an estimate as large if there were no effect"),
            "p_corrected": Column("1", "false discovery rate over the regions of this map and effect"),
        },
    ),
)  # fmt: skip

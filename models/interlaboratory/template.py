"""Interlaboratory study: repeatability, reproducibility, bias of laboratories (ISO 5725, ASTM E691).

Any table of laboratory, specimen and value. There is no theory beyond one mean; specimens differ, laboratories are biased, and repeated
measurements scatter. ``fit.repeatability()`` gives s_r and s_R in the standards' words.
"""

import realmat as rm

COLUMNS = [
    rm.templates.Column("lab", "", "the laboratory"),
    rm.templates.Column("specimen", "", "the specimen or material that several laboratories measured"),
    rm.templates.Column("replicate", "", "number of the repetition; not used", required=False),
    rm.templates.Column(
        "tensile_strength", "MPa", "the measurement; in your own table the one other number column, of any name", required=False
    ),
]
VARIANTS = {
    "ideal": "every specimen is alike, every laboratory right: all scatter is noise",
    "unbiased": "specimens differ; laboratories are right",
    "real": "specimens differ, laboratories are biased, repetitions scatter",
    "interaction": "as real, and a laboratory may read one specimen higher than another",
}


def data():
    return rm.datasets.load("interlaboratory")


def prepare(table):
    """Name each laboratory's work on one specimen."""
    return table.assign(lab_and_specimen=table["lab"].astype(str) + " / " + table["specimen"].astype(str))


def response_of(table):
    """The one column that is neither a laboratory, a specimen nor a repetition; of several, the one of numbers."""
    used = ("lab", "specimen", "replicate", "lab_and_specimen")
    others = [c for c in table if c not in used and not (c.endswith("_u") and c[:-2] in table)]  # a stated u is not the measurement
    numbers = list(table[others].select_dtypes("number"))
    if len(others) == 1:  # a word among its numbers makes it a column of words; reading it says in which row
        return others[0]
    if len(numbers) != 1:
        raise rm.DataError(
            f"the table must hold one column of measurements beside lab, specimen and replicate, not {len(numbers)}: {numbers}."
        )
    return numbers[0]


def model(variant="real", table=None):
    response = "tensile_strength" if table is None else response_of(table)
    specimens = [] if variant == "ideal" else [rm.material.Unresolved(by="specimen")]
    if variant == "interaction":
        specimens.append(rm.material.Unresolved(by="lab_and_specimen"))
    return rm.Model(
        response,
        unit="MPa" if response == "tensile_strength" else "",
        label="Tensile strength" if response == "tensile_strength" else "",
        levels={"specimen": "specimen", "lab": "lab"},
        theory=rm.theory.Constant(),
        material=specimens,
        observation=rm.observation.Normal(bias_by="lab" if variant in ("real", "interaction") else None),
    )

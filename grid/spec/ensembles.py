"""Ready cascades, by the name a spec gives them: facts about the literature, no behaviour."""

ENSEMBLES: dict[str, list[dict[str, dict[str, object]]]] = {
    "autoattack": [
        {"apgd": {"loss": "ce", "steps": 100}},
        {"apgd": {"loss": "targeted_dlr", "steps": 100, "target_classes": 9}},
        {"fab": {"steps": 100, "target_classes": 9}},
        {"square": {"queries": 5000}},
    ],
    "autoattack_rand": [
        {"apgd": {"loss": "ce", "steps": 100}},
        {"apgd": {"loss": "dlr", "steps": 100}},
    ],
}
"""`autoattack`: the standard ensemble of Croce and Hein 2020, https://arxiv.org/abs/2003.01690, section 5.

`autoattack_rand`: the one for models that draw numbers, `version='rand'` of the authors' code; it averages 20 draws.
"""
BESIDE: dict[str, dict[str, object]] = {"autoattack_rand": {"eot": 20}}
"""What is said of all members, where the spec says nothing else."""
VERSIONS: dict[str, dict[str, str]] = {"autoattack": {"standard": "autoattack", "rand": "autoattack_rand"}}
"""The versions of an ensemble, by the name they have as ensembles."""

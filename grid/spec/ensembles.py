"""Ready cascades, by the name a spec gives them: facts about the literature, no behaviour."""

ENSEMBLES: dict[str, list[dict[str, dict[str, object]]]] = {
    "autoattack": [
        {"apgd": {"loss": "ce", "steps": 100}},
        {"apgd": {"loss": "targeted_dlr", "steps": 100, "target_classes": 9}},
        {"fab": {"steps": 100, "target_classes": 9}},
        {"square": {"queries": 5000}},
    ]
}
"""`autoattack`: the standard ensemble of Croce and Hein 2020, https://arxiv.org/abs/2003.01690, section 5."""

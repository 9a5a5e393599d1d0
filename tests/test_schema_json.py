"""The JSON Schema for editors agrees with what the loader accepts and refuses."""

import json
import re
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
from spec_generator import generated

from grid.errors import SpecError
from grid.spec import read
from grid.spec.json_schema import ONLY_CHECK, spec_schema
from grid.spec.keys import BLOCK_KEYS
from grid.spec.nodes import Report, plain
from grid.spec.read import load_spec
from grid.spec.strict_yaml import parse
from tasks import registry

SPECS = Path(__file__).parent.parent / "specs"
QUICKSTART = SPECS / "quickstart.yaml"
BLOCK = {"dataset": "digits", "architecture": {"mlp": {"hidden": [8]}}}


@pytest.fixture(scope="module")
def validator():
    schema = spec_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_is_plain_json_and_names_every_component(validator):
    text = json.dumps(validator.schema)
    for kind in registry.FOLDERS:
        assert all(f'"{name}"' in text for name in registry.names(kind))
    block = validator.schema["properties"]["cells"]["items"]["properties"]
    assert set(block) == set(BLOCK_KEYS)


@pytest.mark.parametrize(
    "rest",
    [
        {},
        {"samples": {"count": "all", "order": "natural"}, "seeds": [0, 1]},
        {"attacks": ["other.package:attack", {"other.package:attack": {"any": 1}}]},
        {"exclude": [{"head": ["softmax"], "eps": "8/255", "attack.steps": 3}]},
        {"published": [{"metric": "mean_l2", "value": 1, "source": "Table 1", "seed": 0}]},
        {"cells": [{**BLOCK, "training": {"lr": {"each": [0.1, "1/8"]}, "epochs": 3}}]},
        {"cells": [{**BLOCK, "training": ["standard", {"standard": {"epochs": {"each": [1, 2]}}}, "my.module:name"]}]},
        {"cells": [{**BLOCK, "defense": {"combined": ["natural", {"label_smoothing": {"smoothing": 0.2}}]}}]},
        {
            "cells": [
                {**BLOCK, "defense": {"combined": {"parts": {"each": [["natural", ["label_smoothing", "natural"]]]}}}}
            ]
        },
        {"cells": [{**BLOCK, "training": [{}, {"epochs": 3}], "head": ["softmax", {"softmax": None}]}]},
        {"samples": None, "attacks": [], "probes": []},
        {"attacks": {"cascade": True, "name": 3, "eps": 0.1, "attacks": ["fgsm", {"pgd": {"eps": 0.2, "box": False}}]}},
        {"attacks": {"cascade": True, "attacks": ["deepfool", {"fgsm": {"eps": {"each": [0.1]}}}]}},
        {"published": [{"metric": "mean_l2", "value": "8./255.", "source": 3, "attack.steps": [[1], None]}]},
        {"attacks": [{"fgsm": {"eps": spelt}} for spelt in ("8./255.", " 8 / 255 ", ".5/2", "+1/4")]},
    ],
)
def test_what_the_loader_accepts_the_schema_accepts(validator, rest):
    validator.validate({"name": "a", "cells": [BLOCK], **rest})


def problems_of(spec, path):
    """What `check` says of a spec; nothing if it takes it."""
    path.write_text(json.dumps(spec))
    try:
        load_spec(path)
    except SpecError as error:
        return [str(problem) for problem in error.problems]
    return []


def without_contradictions(spec, path, problems):
    """Those of the problems that are not said by a component: a look at each alone finds them too."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(read, "report_contradictions", lambda *given: None)
        return problems_of(spec, path) if problems else []


@pytest.mark.parametrize("seeds", [range(300), pytest.param(range(300, 1300), marks=pytest.mark.drill)], ids=len)
def test_the_schema_refuses_what_check_does_but_for_the_kinds_that_are_listed(validator, tmp_path, seeds):
    verdicts = Counter()
    for seed in seeds:
        spec = generated(seed)
        problems = problems_of(spec, tmp_path / "made.yaml")
        is_valid = validator.is_valid(spec)
        assert is_valid or problems, f"seed {seed}: only the schema refuses it"
        if is_valid:
            problems = without_contradictions(spec, tmp_path / "made.yaml", problems)
            unlisted = [each for each in problems if not any(re.search(kind, each) for kind in ONLY_CHECK.values())]
            assert not unlisted, f"seed {seed}"
        verdicts[not problems, is_valid] += 1
    assert min(verdicts[True, True], verdicts[False, False]) > 0.15 * len(seeds)  # both verdicts are really compared


def test_what_only_check_finds_is_said_in_the_schema_and_in_the_documentation(validator):
    documented = (SPECS / "README.md").read_text()
    assert all(f"* {kind}" in documented and kind in validator.schema["description"] for kind in ONLY_CHECK)


@pytest.mark.parametrize(
    "rest",
    [
        {"nmae": "a"},
        {"name": ".."},
        {"samples": {"cuont": 3}},
        {"samples": {"count": 0}},
        {"cells": [{**BLOCK, "architecture": {"mlp": {"hiden": [8]}}}]},
        {"cells": [{**BLOCK, "architecture": {"mlp": {"hidden": [0]}}}]},
        {"cells": [{**BLOCK, "head": "sofmax"}]},
        {"cells": [{**BLOCK, "training": {"lr": "fast"}}]},
        {"cells": [{**BLOCK, "training": {"epohcs": 3}}]},
        {"cells": [{**BLOCK, "training": {"standrad": {}}}]},
        {"cells": [{**BLOCK, "training": {"standard": {"epohcs": 3}}}]},
        {"cells": [{**BLOCK, "defense": {"combined": ["natural"]}}]},
        {"cells": [{**BLOCK, "defense": {"combined": ["natural", "nautral"]}}]},
        {"cells": [{**BLOCK, "defense": {"combined": {"prats": ["natural", "natural"]}}}]},
        {"cells": [{"dataset": "digits"}]},
        {"tables": ["robust"]},
        {"exclude": [{"haed": "softmax"}]},
        {"published": [{"metric": "mean_l3", "value": 1, "source": "Table 1"}]},
        {"published": [{"metric": "robust_accuracy", "value": 97, "source": "Table 1"}]},
        {"exclude": [{"attack.steps": {"a": 1}}]},
        {"exclude": [{}]},
        {"profiles": {"smoke": 3}},
        {"attacks": ["fgsm"]},
        {"attacks": [{"boundary": {"targets": "all"}}]},
        {"attacks": [{"fgsm": {"eps": 0.1, "targets": []}}]},
        {"attacks": [{"fgsm": {"eps": 0.1, "source": {}}}]},
        {"attacks": ["autoattack"]},
        {"attacks": {"cascade": True, "attacks": ["fgsm"]}},
        {"attacks": {"cascade": False, "eps": 0.1, "attacks": ["fgsm"]}},
        {"attacks": {"cascade": True, "eps": 0.1, "attacks": []}},
        {"attacks": {"cascade": True, "eps": 0.1, "attacks": ["universal"]}},
        {"attacks": {"cascade": True, "eps": 0.1, "attacks": ["autoattack"]}},
        {"attacks": {"cascade": True, "eps": 0.1, "attacks": [{"pgd": {"steps": {"each": [1, 2]}}}]}},
        *(
            {"attacks": {"cascade": True, "eps": 0.1, "attacks": [{"pgd": {key: value}}]}}
            for key, value in {"samples": 3, "targets": "all", "source": {"head": "cons"}, "attacked": "all"}.items()
        ),
    ],
)
def test_what_the_loader_refuses_the_schema_refuses(validator, tmp_path, rest):
    spec = {"name": "a", "cells": [BLOCK], **rest}
    assert not validator.is_valid(spec)
    assert problems_of(spec, tmp_path / "a.yaml")


def test_the_quickstart_is_valid_and_a_typo_in_it_is_not(validator):
    text = QUICKSTART.read_text()
    validator.validate(plain(parse(text, "quickstart", Report("quickstart"))))
    assert not validator.is_valid(plain(parse(text.replace("hidden", "hiden"), "quickstart", Report("quickstart"))))

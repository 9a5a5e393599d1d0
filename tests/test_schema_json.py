"""The JSON Schema for editors agrees with what the loader accepts and refuses."""

import json
from pathlib import Path

import pytest

from grid.spec.json_schema import spec_schema
from grid.spec.keys import BLOCK_KEYS
from grid.spec.nodes import Report, plain
from grid.spec.strict_yaml import parse
from tasks import registry

jsonschema = pytest.importorskip("jsonschema")

QUICKSTART = Path(__file__).parent.parent / "specs/quickstart.yaml"
BLOCK = {"dataset": "digits", "architecture": {"mlp": {"hidden": [8]}}}


@pytest.fixture(scope="module")
def validator():
    schema = spec_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_is_plain_json_and_names_every_component(validator):
    text = json.dumps(validator.schema)
    for kind in ("dataset", "architecture", "activation", "head", "defense", "attack"):
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
        {"cells": [{**BLOCK, "defense": {"combined": {"parts": {"each": [["natural", ["trades", "natural"]]]}}}}]},
        {"cells": [{**BLOCK, "training": [{}, {"epochs": 3}], "head": ["softmax", {"softmax": None}]}]},
    ],
)
def test_what_the_loader_accepts_the_schema_accepts(validator, rest):
    validator.validate({"name": "a", "cells": [BLOCK], **rest})


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
    ],
)
def test_what_the_loader_refuses_as_a_typo_the_schema_refuses(validator, rest):
    assert not validator.is_valid({"name": "a", "cells": [BLOCK], **rest})


def test_the_quickstart_is_valid_and_a_typo_in_it_is_not(validator):
    text = QUICKSTART.read_text()
    validator.validate(plain(parse(text, "quickstart", Report("quickstart"))))
    assert not validator.is_valid(plain(parse(text.replace("hidden", "hiden"), "quickstart", Report("quickstart"))))

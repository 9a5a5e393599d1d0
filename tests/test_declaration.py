"""What a component declares, read from its source: facts that are typed, and errors that say what would be right."""

import sys

import pytest

from tasks import registry
from tasks.declaration import parsed, read_shared
from tasks.facts import AttackFacts, declared
from tasks.registry import ComponentSourceError, component, describe
from tasks.sources import source_of


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that must not be imported, with whatever a test writes into its module `parts`."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / f"foreign_{tmp_path.name.replace('-', '_')}"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('imported')")

    def write(source, module="parts"):
        (folder / f"{module}.py").write_text("raise SystemExit('imported')\n" + source)
        registry._described.cache_clear()
        return f"{folder.name}.{module}"

    return write


def declaration(facts, parameters="", kind="attack", after=""):
    return f'@component("{kind}", {facts})\ndef mine({parameters}):\n    """Mine."""\n{after}'


ATTACK = 'version=1, norms=("linf",), budget="eps", knowledge="score"'


def test_facts_are_typed_and_their_defaults_are_said_once(package):
    found = describe("attack", f"{package(declaration(ATTACK))}:mine")
    assert found.facts == AttackFacts(norms=("linf",), budget="eps", knowledge="score")
    assert (found.facts.targeting, found.facts.prepared, found.facts.leaves_budget) == (("untargeted",), False, {})


@pytest.mark.parametrize(
    ("kind", "facts", "says"),
    [
        (
            "defense",
            "version=1, stocastic=True",
            "unknown fact 'stocastic' of kind 'defense'. Did you mean",
        ),
        ("defense", "version=1, stochastic='yes'", "stochastic: "),
        ("attack", "version=1", "must say its norms; must say its budget; must say its knowledge"),
        ("attack", ATTACK.replace("eps", "epsilon"), "budget: Input should be 'eps', 'minimal' or 'either'"),
        ("attack", ATTACK.replace('"linf",', '"linfty",'), "norms: Input should be 'l0', 'l1', 'l2' or 'linf'"),
        ("attack", ATTACK + ", targeted=True", "unknown fact 'targeted'"),
        ("attack", ATTACK.replace('("linf",)', "()"), "norms: Tuple should have at least 1 item"),
        ("dataset", "version=1, samples=-5", "samples: Input should be greater than or equal to 1"),
        ("dataset", "version=1, shape=(1, -8, 8)", "shape: Input should be greater than or equal to 1"),
        ("head", "version=1, paper=3", "paper must be text, such as a link"),
        ("head", "version=1, requires=('',)", "requires: String should have at least 1 character"),
        ("attack", ATTACK + ", prepared=True", "is declared prepared, but its file has no function 'prepare'"),
        ("dataset", "version=1, samples='many'", "samples: "),
        ("defense", "version=1, stochastic={'b': (1,)}", "unknown parameter 'b'. Known: a"),
        ("defense", "version=1, stochastic={'a': ('x',)}", "facts speak of a='x', which cannot be: Input should be"),
        ("defense", "version=1, evaluation=('b',)", "unknown parameter 'b'"),
        ("defense", "version=1, base={'a': True}", "facts speak of a=True, which cannot be"),
        ("activation", "version=1, block='units'", "unknown parameter 'units'"),
        ("attack", ATTACK + ", leaves_budget={'variant': 'published'}", "unknown parameter 'variant'"),
        ("dataset", "version=1, classes={'labels': {'fine': 100}}", "unknown parameter 'labels'"),
        ("head", "version=0", "version must be a whole number, at least 1"),
        ("head", "paper='x'", "version must be a whole number, at least 1"),
        ("head", "version=1, **COMMON", "facts must be written out, not given by **"),
        ("head", "version=1 + 1", "version must be written out, not '1 + 1'"),
        ("head", "version=1, added=['a']", "added must be {parameter: the constant it stood for before}"),
        ("head", "version=1, added={'b': 1}", "added names 'b', which is no parameter with a default"),
        ("head", "version=1, added={'a': 1}", "added names 'a', which is no parameter with a default"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_with_what_would_be_right(package, kind, facts, says):
    name = f"{package(declaration(facts, '*, a: int', kind))}:mine"
    with pytest.raises(ComponentSourceError) as error:
        describe(kind, name)
    assert says in str(error.value)


def test_the_decorator_refuses_what_the_source_would_be_refused_for():
    with pytest.raises(
        TypeError, match=r"package: unknown fact 'stocastic' of kind 'defense'\. Did you mean 'stochastic'"
    ):
        component("defense", version=1, stocastic=True)(package)
    with pytest.raises(ValueError, match="must say its norms"):
        declared("attack", {})


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def mine(:\n", "is no Python source"),
        ("\x00", "is no Python source"),
        ("(" * 5000, "is no Python source"),
        ("def other(): ...\n", "has no function 'mine'"),
        ("mine = 3\n", "has no function 'mine'"),
        ("def mine(): ...\n", "is not declared with @component('attack', ...)"),
        (declaration(ATTACK, "*, a: set"), "parameters cannot have the type 'set'"),
        (declaration(ATTACK, "*, a"), "parameter 'a' has no type"),
        (declaration(ATTACK, "*, a: Any"), "parameters cannot have the type 'Any'"),
        (declaration(ATTACK, "*, a: Annotated"), "parameters cannot have the type 'Annotated'"),
        (declaration(ATTACK, "*, a: Literal[[1]]"), "parameters cannot have the type 'Literal[[1]]'"),
        (declaration(ATTACK, "*, a: Literal[()]"), "parameters cannot have the type 'Literal[()]'"),
        (declaration(ATTACK, "*, a: int = open('x')"), "the default of 'a' must be written out, not \"open('x')\""),
        (declaration(ATTACK, "*, a: Literal[exit()]"), "the values of Literal must be written out"),
    ],
)
def test_a_source_that_declares_no_component_is_refused_in_one_line_and_never_run(package, source, says):
    name = f"{package(source)}:mine"
    with pytest.raises(ComponentSourceError) as error:
        describe("attack", name)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("sys", "module 'sys' has no Python source"),
        ("math", "module 'math' has no Python source"),
        ("no_such", "there is no module 'no_such': it is neither installed, nor here, nor on PYTHONPATH"),
        ("xml.no_such.deeper", "there is no module 'xml.no_such'"),
        ("json.decoder.deeper", "there is no module 'json.decoder.deeper'"),
        ("a" * 5000, "there is no module 'aaa"),
        ("json." + "a" * 5000, "there is no module 'json.aaa"),
        ("..relative", "is no name of a module"),
        ("../up", "is no name of a module"),
        ("", "is no name of a module"),
    ],
)
def test_a_module_without_a_source_is_said_to_be_that(module, says):
    with pytest.raises(ComponentSourceError) as error:
        source_of(module)
    assert says in str(error.value)
    assert len(str(error.value)) < 200


def test_no_package_on_the_way_to_a_source_is_imported(package, tmp_path):
    module = package("")
    assert source_of(module) == tmp_path / module.replace(".", "/").join(["", ".py"])
    assert not [name for name in sys.modules if name.startswith("foreign_")]


def test_a_source_in_a_namespace_package_is_found(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "spread" / "deep").mkdir(parents=True)
    (tmp_path / "spread" / "deep" / "parts.py").touch()
    assert source_of("spread.deep.parts") == tmp_path / "spread" / "deep" / "parts.py"
    with pytest.raises(ComponentSourceError, match=r"module 'spread\.deep' has no Python source"):
        source_of("spread.deep")


def test_what_every_component_of_a_kind_has_may_come_later_too(tmp_path):
    path = tmp_path / "_every.py"
    path.write_text('@every("head", added={"scale": 1.0})\ndef scaled(head, *, scale: float = 2.0):\n    ...\n')
    found = read_shared(parsed(path), "head", "tasks.heads._every")
    assert (found.function, list(found.parameters), found.added) == ("scaled", ["scale"], {"scale": 1.0})
    path.write_text("def scaled(head): ...\n")
    with pytest.raises(ComponentSourceError, match=r"no function that is declared with @every\('head'\)"):
        read_shared(parsed(path), "head", "tasks.heads._every")

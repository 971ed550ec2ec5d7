"""ODL metadata: repeated objects stay apart, split texts are joined, damage is an error."""

import time

import pytest

from geoquarry.engine import odl
from geoquarry.engine.hdf4 import Hdf4
from geoquarry.schemas.errors import InputError


def item(name, value, class_=None):
    klass = f'    CLASS = "{class_}"\n' if class_ else ""
    return (
        f"  OBJECT = {name}\n{klass}    NUM_VAL = 1\n    VALUE = {value}\n  END_OBJECT = {name}\n"
    )


def gains(count=10):
    body = "".join(item("GAIN", f'("{n:02d}", "NOR")', n) for n in range(1, count + 1))
    return f"GROUP = G\n{body}END_GROUP = G\nEND\n"


def test_ten_gains_stay_ten():
    metadata = odl.read({"productmetadata.0": gains() + "\0" * 500}, ("productmetadata",), "f")
    assert list(metadata.values("GAIN")) == [str(n) for n in range(1, 11)]
    assert metadata.values("GAIN")["10"] == ["10", "NOR"]


def test_classes_of_containers_reach_their_values():
    inner = item("NAME", '"a"') + item("PARAMETERVALUE", '"7"')
    text = f'OBJECT = C\n CLASS = "4"\n{inner}END_OBJECT = C\nEND'
    assert odl.read({"core.0": text}, ("core",), "f").values("PARAMETERVALUE") == {"4": "7"}


def test_same_class_twice_is_kept_twice():
    text = item("A", 1, "1") + item("A", 2, "1") + item("B", 3) + item("B", 4)
    metadata = odl.read({"core.0": text}, ("core",), "f")
    assert list(metadata.values("A").values()) == [1, 2]
    assert list(metadata.values("B").values()) == [3, 4]


@pytest.mark.parametrize("cut", [17, 150, 400])
def test_a_text_cut_anywhere_is_joined(cut):
    parts = {"core.1": gains()[cut:], "core.0": gains()[:cut]}
    assert len(odl.read(parts, ("core",), "f").values("GAIN")) == 10


def test_whole_numbered_texts_are_read_one_by_one():
    parts = {"p.0": item("A", 1) + "END\n", "p.1": item("B", 2) + "END\n", "p.v": item("C", 3)}
    metadata = odl.read(parts, ("p",), "f")
    assert [metadata.value(k) for k in "ABC"] == [1, 2, 3]
    assert "C" not in odl.read(parts, ("p.[01]",), "f")


@pytest.mark.parametrize(
    "text",
    [
        "GROUP = A\n" + item("B", 3),
        item("B", "(1,\n"),
        "\x01\x02 garbage",
        'OBJECT = B\n VALUE = "abc',
        "GROUP = A\nEND_GROUP = B\nEND",
        "GROUP = A\n VALUE = \nEND_GROUP = A\nEND",
    ],
)
def test_damage_names_file_and_attribute(text):
    with pytest.raises(InputError, match=r"scene\.hdf \(core\.0\): damaged ODL"):
        odl.read({"core.0": text}, ("core",), "scene.hdf")


def test_missing_and_wrong_keys_are_named():
    metadata = odl.read({"core.0": item("A", '"x"') + item("P", "(1, 2)")}, ("core",), "scene.hdf")
    with pytest.raises(InputError, match=r"scene\.hdf: metadata key SUN is missing"):
        metadata.value("SUN")
    with pytest.raises(InputError, match="key A should be a number, found 'x'"):
        metadata.number("A")
    with pytest.raises(InputError, match="key P should be 3 numbers"):
        metadata.numbers("P", 3)
    assert metadata.value("SUN", None) is None
    assert metadata.numbers("P", 2) == [1.0, 2.0]
    with pytest.raises(InputError, match="no metadata attribute other"):
        odl.read({"core.0": ""}, ("other",), "f")


def test_quoted_dates_and_bare_words():
    text = item("D", '"2006-06-18T17:48:58Z"') + item("W", "DFNT_INT16") + item("T", "17:48:58")
    metadata = odl.read({"c.0": text}, ("c",), "f")
    assert [metadata.value(k) for k in "DWT"] == ["2006-06-18T17:48:58Z", "DFNT_INT16", "17:48:58"]


def test_fast_enough_for_a_whole_granule(s96):
    path = next(s96.glob("AST_L1T*.hdf"))
    with Hdf4(path) as file:
        attributes = file.attributes()
    start = time.process_time()
    odl.read(attributes, ("coremetadata", "productmetadata"), str(path))
    tree = odl.parse(attributes["StructMetadata.0"], str(path))
    assert time.process_time() - start < 0.3
    assert tree["SwathStructure"]["SWATH_2"]["SwathName"] == "SWIR_Swath"

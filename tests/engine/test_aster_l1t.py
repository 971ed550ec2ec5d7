"""ASTER L1T: frames, gains, angles and identity, on shared scenes and on tiny files made here."""

import json
import math
import re
from datetime import UTC, datetime

import numpy as np
import pytest
from pyhdf.SD import SD, SDC

from geoquarry.engine import aster_l1t, readers
from geoquarry.engine.aster_l1t_geometry import (
    INCLINATION_DEG,
    PERIOD_MIN,
    SIDEREAL_DAY_MIN,
    flight_azimuth_deg,
    utm_crs,
    view_azimuth_deg,
    view_zenith_deg,
)
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.sensor import sensor
from geoquarry.schemas.sun_distance import earth_sun_distance_au

NUMBERS = ["1", "2", "3N", "4", "5", "6", "7", "8", "9"]
NAME = "AST_L1T_00306182006174858_20150516014601_17781"


def scene(
    tmp_path,
    *,
    name=NAME,
    drop=(),
    gain="NOR",
    gains=None,
    datasets=NUMBERS,
    shapes=None,
    **changes,
):
    """A granule of 5 x 7 SWIR pixels; keyword = metadata key with another value, drop = without."""
    top, left = 3_634_290.0, 772_650.0
    values = {
        "CALENDARDATE": "20060618",
        "TIMEOFDAY": "174858500000Z",
        "NORTHBOUNDINGCOORDINATE": 32.81,
        "SOLARDIRECTION": [111.98, 69.19],
        "UPPERLEFTM": [top, left],
        "LOWERRIGHTM": [top - 120.0, left + 180.0],
        "UTMZONENUMBER": 12,
        "MAPPROJECTIONNAME": "Universal Transverse Mercator",
        "FLYINGDIRECTION": "DE",
        "POINTINGANGLE": [-8.5, -8.4, -8.3],
        "SENSORNAME": ["VNIR", "SWIR", "TIR"],
        "PRODUCTIONDATETIME": "2015-05-16T01:46:01.000Z",
    } | changes
    codes = dict.fromkeys(NUMBERS, gain) | (gains or {})
    text = "GROUP = ALL\n"
    for key, value in values.items():
        if key in drop:
            continue
        repeated = key in ("POINTINGANGLE", "SENSORNAME")
        for n, one in enumerate(value if repeated else [value], start=1):
            class_ = f' CLASS = "{n}"\n' if repeated else ""
            text += f"OBJECT = {key}\n{class_} VALUE = {odl_value(one)}\nEND_OBJECT = {key}\n"
    for n, (number, code) in enumerate(codes.items(), start=1):
        pair = odl_value([number.zfill(2), code])
        if code:
            text += f'OBJECT = GAIN\n CLASS = "{n}"\n VALUE = {pair}\nEND_OBJECT = GAIN\n'
    path = tmp_path / f"{name}.hdf"
    file = SD(str(path), SDC.WRITE | SDC.CREATE | SDC.TRUNC)
    file.attr("productmetadata.0").set(SDC.CHAR8, text + "END_GROUP = ALL\nEND\n")
    for number in datasets:
        shape = (9, 13) if number in NUMBERS[:3] else (5, 7)
        shape = (shapes or {}).get(number, shape)
        data = file.create(f"ImageData{number}", SDC.UINT8, shape)
        data[:] = np.full(shape, 7, np.uint8)
        data.endaccess()
    file.end()
    return path


def odl_value(value):
    if isinstance(value, list):
        return "(" + ", ".join(odl_value(v) for v in value) + ")"
    return f'"{value}"' if isinstance(value, str) else str(value)


def from_golden(tmp_path, name, entry):
    """A file that carries the metadata and raster sizes the reference parser was given."""
    meta = dict(entry["meta"])
    gains, pointing, changes = {}, [], {}
    for key, value in sorted(meta.items()):
        if key.startswith("GAIN."):
            number, code = value.split(", ")
            gains[number.lstrip("0")] = code
        elif key.startswith("POINTINGANGLE."):
            pointing.append(float(value))
        elif "." not in key and not key.startswith("OFFSET"):
            numbers = [float(x) for x in value.split(", ")]
            changes[key] = numbers if len(numbers) > 1 else numbers[0]
    changes |= {"CALENDARDATE": meta["CALENDARDATE"], "POINTINGANGLE": pointing}
    changes["UTMZONENUMBER"] = int(meta["UTMZONENUMBER"])
    sizes = {n: changes[f"IMAGEDATAINFORMATION{n}"] for n in NUMBERS}
    shapes = {n: (int(lines), int(pixels)) for n, (pixels, lines, _) in sizes.items()}
    return scene(tmp_path, name=name.removesuffix(".hdf"), gains=gains, shapes=shapes, **changes)


def test_metadata_as_the_reference_parser_reads_it(golden, tmp_path):
    known = json.loads((golden / "parse_meta.json").read_text())
    entries = [(k.split("/")[1], v) for k, v in known.items() if k.startswith("s256/")]
    assert len(entries) == 10
    for name, entry in entries:
        granule = aster_l1t.read(from_golden(tmp_path, name, entry))
        parsed = entry["parsed"]
        assert granule.earth_sun_distance_au == pytest.approx(parsed["esd"], abs=1e-12)
        assert granule.sun_zenith_deg == pytest.approx(parsed["solar_z"], abs=1e-5)
        assert granule.sun_azimuth_deg == float(parsed["solar_a"])
        assert granule.bands["b01"].crs == f"EPSG:{parsed['utm_zone']}"
        assert granule.latitude_deg == pytest.approx(parsed["sLatitude"], abs=0.01)
        assert granule.longitude_deg == pytest.approx(parsed["sLongitude"], abs=0.01)
        assert granule.acquired.strftime("%Y %-m %-d") == "{} {} {}".format(*parsed["datetime"])
        assert granule.meta["pointing_angle_deg"] == parsed["satellite_z"]
        assert granule.unreliable_bands == (
            frozenset(sensor("aster_l1t").names[3:]) if "2008" in name[15:19] else frozenset()
        )
        for place, (number, band) in enumerate(zip(NUMBERS, entry["bands"].values(), strict=True)):
            raster = granule.bands[sensor("aster_l1t").names[place]]
            x0, dx, _, y0, _, dy = band["transform"]
            assert raster.transform == (dx, 0.0, x0, 0.0, dy, y0)
            assert list(raster.data.shape[::-1]) == band["width_height"]
            assert granule.gain_code[place] == parsed["gain_dict"][number.zfill(2)]
            assert granule.radiance_scale[place] == band["ucc"]
            assert granule.radiance_offset[place] == float(band["offset"])


def test_variants_of_the_reference_parser(golden, tmp_path):
    known = json.loads((golden / "parse_meta.json").read_text())
    meta = known["variant_equator_straddle"]["meta"]
    found = utm_crs(
        int(meta["UTMZONENUMBER"]),
        float(meta["UPPERLEFTM"].split(", ")[0]),
        float(meta["NORTHBOUNDINGCOORDINATE"]),
    )
    assert found == (f"EPSG:{known['variant_equator_straddle']['parsed']['utm_zone']}", 0.0)
    # Deliberately different: the reference takes elevation -12.5 for 12.5, and band 5 OFF for LO2.
    with pytest.raises(InputError, match="band 5 is off"):
        aster_l1t.read(from_golden(tmp_path, NAME, known["variant_LO2_OFF_night"]))


def test_frames_of_shared_scenes(s96):
    truth = json.loads((s96 / "scenes.json").read_text())
    for site in truth["sites"]:
        for entry in site["granules"]:
            granule = aster_l1t.read(s96 / entry["file"])
            left, bottom, right, top = entry["utm"]  # of pixel centres
            for band in ("b01", "b04"):
                raster = granule.bands[band]
                a, _, c, _, e, f = raster.transform
                rows, columns = raster.data.shape
                assert raster.crs == f"EPSG:{entry['epsg']}"
                assert (c + a / 2, f + e / 2) == (left, top)
                assert (c + a * (columns - 0.5), f + e * (rows - 0.5)) == (right, bottom)
            assert granule.gain_code == entry["gain"]
            assert (granule.bands["b3n"].data > 0).mean() == pytest.approx(
                entry["valid"]["3N"], abs=1e-4
            )


def test_identity_and_time(tmp_path):
    granule = aster_l1t.read(scene(tmp_path))
    assert granule.granule_id == NAME
    assert granule.observation_id == "AST_L1T_00306182006174858"
    assert granule.produced == "20150516014601"
    assert granule.acquired == datetime(2006, 6, 18, 17, 48, 58, 500000, tzinfo=UTC)
    json.dumps(granule.meta, allow_nan=False)
    assert granule.meta["crosstalk_corrected"] is False
    assert readers.sniff(scene(tmp_path)) == "aster_l1t"


def test_local_granule_id_wins_over_the_file_name(tmp_path):
    path = scene(tmp_path, name="copy", LOCALGRANULEID=f"{NAME}.hdf")
    granule = aster_l1t.read(path)
    assert (granule.granule_id, granule.produced) == (NAME, "20150516014601")


def test_a_renamed_file_without_id_still_has_its_observation(tmp_path):
    granule = aster_l1t.read(scene(tmp_path, name="copy", CALENDARDATE="2006-06-18"))
    assert granule.granule_id == "copy"
    assert granule.observation_id == "AST_L1T_00306182006174858"
    assert granule.produced == "20150516014601"


@pytest.mark.parametrize(
    ("written", "code", "b01", "b09"),
    [
        ("HGH", "HGH", 0.676, 0.0159),
        ("NOR", "NOR", 1.688, 0.0318),
        ("LOW", "LO1", 2.25, 0.0424),
        ("LO1", "LO1", 2.25, 0.0424),
    ],
)
def test_gain_table(tmp_path, written, code, b01, b09):
    granule = aster_l1t.read(scene(tmp_path, gain=written))
    assert granule.gain_code == [code] * 9
    assert (granule.radiance_scale[0], granule.radiance_scale[8]) == (b01, b09)
    # DN 1 is zero radiance.
    assert granule.radiance_offset == [-scale for scale in granule.radiance_scale]


def test_low_gain_two_exists_for_swir_only(tmp_path):
    granule = aster_l1t.read(scene(tmp_path, gains={"5": "LO2"}))
    assert granule.radiance_scale[4] == 0.409
    with pytest.raises(InputError, match=r"gain 'LO2' of band 1 is unknown.*HGH, NOR, LO1"):
        aster_l1t.read(scene(tmp_path, gains={"1": "LO2"}))


def test_coefficients_in_the_file_win(tmp_path):
    path = scene(tmp_path, INCL1=0.7, OFFSET1=-0.69, INCL4=0.2, INCL5="N/A")
    granule = aster_l1t.read(path)
    assert (granule.radiance_scale[0], granule.radiance_offset[0]) == (0.7, -0.69)
    assert (granule.radiance_scale[3], granule.radiance_offset[3]) == (0.2, -0.2)
    assert granule.radiance_scale[4] == 0.0696
    assert granule.meta["radiance_source"]["b05"] == "gain table NOR"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"gains": dict.fromkeys(NUMBERS[3:], "OFF"), "datasets": NUMBERS[:3]}, "SWIR is off"),
        ({"gain": "OFF", "datasets": []}, "VNIR is off"),
        ({"gains": dict.fromkeys(NUMBERS[:3], "OFF"), "datasets": NUMBERS[3:]}, "VNIR is off"),
        ({"datasets": NUMBERS[:-1]}, "band 9 is off or missing"),
        ({"gains": {"6": "OFF"}}, "band 6 is off"),
        ({"gains": {"6": ""}}, "key GAIN is missing for band 6"),
        ({"gain": ""}, "key GAIN is missing"),
        ({"gains": {"6": "XYZ"}}, "gain 'XYZ' of band 6 is unknown"),
        ({"UTMZONENUMBER": 61}, "UTMZONENUMBER is 61"),
        ({"UTMZONENUMBER": "N/A"}, "UTMZONENUMBER should be a number"),
        ({"MAPPROJECTIONNAME": "Polar Stereographic"}, "only UTM"),
        ({"LOWERRIGHTM": [3_634_000.0, 772_830.0]}, "9 rows, but its corners are 290 m apart"),
        ({"SOLARDIRECTION": [10.0, -3.0]}, "night"),
        ({"NORTHBOUNDINGCOORDINATE": 12.0}, "wrong zone or hemisphere"),
        ({"TIMEOFDAY": "995858000000Z"}, "is no time"),
        ({"IMAGEDATAINFORMATION4": [7, 6, 1]}, "ImageData4 is"),
        ({"POINTINGANGLE": [-8.5, "N/A", 0.0]}, "POINTINGANGLE is missing for SWIR"),
    ],
)
def test_what_cannot_be_used_says_why_and_where(tmp_path, options, reason):
    path = scene(tmp_path, **options)
    with pytest.raises(InputError, match=re.escape(reason)) as error:
        aster_l1t.read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "key",
    [
        "CALENDARDATE",
        "TIMEOFDAY",
        "NORTHBOUNDINGCOORDINATE",
        "SOLARDIRECTION",
        "UPPERLEFTM",
        "LOWERRIGHTM",
        "UTMZONENUMBER",
        "POINTINGANGLE",
    ],
)
def test_a_missing_key_is_named(tmp_path, key):
    with pytest.raises(InputError, match=f"metadata key {key} is missing"):
        aster_l1t.read(scene(tmp_path, drop=(key,)))


def test_optional_keys_may_be_absent(tmp_path):
    drop = ("MAPPROJECTIONNAME", "FLYINGDIRECTION", "SENSORNAME", "PRODUCTIONDATETIME")
    assert aster_l1t.read(scene(tmp_path, drop=drop)).gain_code == ["NOR"] * 9


def test_swir_failed_in_april_2008(tmp_path):
    late = {"CALENDARDATE": "20080401", "TIMEOFDAY": "000000000000Z"}
    failed = {"b04", "b05", "b06", "b07", "b08", "b09"}
    assert aster_l1t.read(scene(tmp_path, **late)).unreliable_bands == failed
    assert not aster_l1t.read(scene(tmp_path, **late), allow_late_swir=True).unreliable_bands
    before = {"CALENDARDATE": "20080331", "TIMEOFDAY": "235959000000Z"}
    assert not aster_l1t.read(scene(tmp_path, **before)).unreliable_bands


@pytest.mark.parametrize("counted", [0.0, 10_000_000.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_southern_granules_in_each_way_of_counting(tmp_path, counted, sign):
    top = -2_680_560.0 + counted
    granule = aster_l1t.read(
        scene(
            tmp_path,
            UPPERLEFTM=[top, 495_090.0],
            LOWERRIGHTM=[top - 120.0, 495_270.0],
            UTMZONENUMBER=19 * sign,
            NORTHBOUNDINGCOORDINATE=-24.24,
        )
    )
    assert granule.bands["b04"].crs == "EPSG:32719"
    assert granule.bands["b04"].transform == (30.0, 0.0, 495_075.0, 0.0, -30.0, 7_319_455.0)
    assert granule.latitude_deg == pytest.approx(-24.237, abs=0.01)


def test_a_granule_across_the_equator_keeps_its_frame(tmp_path):
    corners = {"UPPERLEFTM": [60.0, 400_000.0], "LOWERRIGHTM": [-60.0, 400_180.0]}
    granule = aster_l1t.read(scene(tmp_path, **corners, NORTHBOUNDINGCOORDINATE=0.0006))
    assert granule.bands["b01"].crs == "EPSG:32612"
    assert granule.bands["b01"].transform[5] == 67.5
    assert granule.latitude_deg == pytest.approx(0.0, abs=1e-6)
    assert utm_crs(12, 10_000_060.0, 0.0006) == ("EPSG:32712", 0.0)


def test_zone_of_real_polar_and_equatorial_metadata(shared):
    for name, zone, expected in [
        ("AST_L1T_00303042000203404_20150409092553_2788", 59, "EPSG:32759"),
        ("AST_L1T_00309032000003144_20150411122552_103734", 56, "EPSG:32656"),
        ("AST_L1T_00305032000040446_20150409135350_78838", 48, "EPSG:32648"),
    ]:
        text = (shared / "data/aster_l1t_metadata" / f"{name}.hdf.xml").read_text()
        found = re.search(r"UTMZoneNumber</PSAName>\s*<PSAValue>(-?\d+)", text)
        assert found
        assert int(found[1]) == zone
        north = max(float(x) for x in re.findall(r"PointLatitude>(-?[\d.]+)<", text))
        assert utm_crs(zone, north * 111_000.0, north)[0] == expected


def test_pixel_centres_on_the_shapes_of_a_real_granule(shared):
    item = next((shared / "data/aster_l1t_metadata").glob("*stac_item.json")).read_text()
    shapes = [tuple(json.loads(s)) for s in set(re.findall(r"\[\s*\d+,\s*\d+\s*\]", item))]
    spans = {
        ((rows - 1) * res, (columns - 1) * res)
        for res, rows, columns in [(15, 4945, 5593), (30, 2473, 2797), (90, 825, 933)]
    }
    assert len(spans) == 1
    assert {(4945, 5593), (2473, 2797), (825, 933)} <= {s for s in shapes if len(s) == 2}


def test_sun_distance_between_perihelion_and_aphelion():
    assert [round(earth_sun_distance_au(day), 4) for day in (4, 186)] == [0.9833, 1.0167]
    for day in range(1, 366):  # Spencer (1971): 1/d^2 as a Fourier series
        g = 2 * math.pi * (day - 1) / 365
        inverse_square = (
            1.00011
            + 0.034221 * math.cos(g)
            + 0.00128 * math.sin(g)
            + 0.000719 * math.cos(2 * g)
            + 0.000077 * math.sin(2 * g)
        )
        assert earth_sun_distance_au(day) == pytest.approx(inverse_square**-0.5, abs=7e-4)


def test_view_angles(tmp_path):
    # Triangle Earth's centre, satellite, target: angles at satellite and centre add up to the
    # zenith angle, and the law of sines holds at the height of the orbit.
    for pointing in (0.0, 5.7, 8.55, 24.0):
        zenith = math.radians(view_zenith_deg(pointing))
        assert math.sin(zenith) / (6371 + 705) == pytest.approx(
            math.sin(math.radians(pointing)) / 6371
        )
        assert view_zenith_deg(-pointing) == view_zenith_deg(pointing) >= pointing
    granule = aster_l1t.read(scene(tmp_path))
    assert granule.view_zenith_deg[0] == pytest.approx(9.45, abs=0.01)
    assert granule.view_zenith_deg[3] < granule.view_zenith_deg[0]
    # Negative pointing on a descending pass: target in the west, the sensor stands in the east.
    assert 95 < granule.view_azimuth_deg[0] < 110
    rising = aster_l1t.read(scene(tmp_path, FLYINGDIRECTION="AS"))
    assert 250 < rising.view_azimuth_deg[0] < 270


def test_flight_azimuth_is_the_motion_of_the_ground_track():
    inclination, step = math.radians(INCLINATION_DEG), 1e-6

    def place(u):  # argument of latitude -> latitude, longitude on the turning Earth
        turned = u * PERIOD_MIN / SIDEREAL_DAY_MIN
        latitude = math.asin(math.sin(inclination) * math.sin(u))
        return latitude, math.atan2(math.cos(inclination) * math.sin(u), math.cos(u)) - turned

    for u, descending in [(2.5, True), (3.6, True), (0.5, False), (6.0, False)]:
        (lat0, lon0), (lat1, lon1) = place(u), place(u + step)
        azimuth = math.degrees(math.atan2((lon1 - lon0) * math.cos(lat0), lat1 - lat0)) % 360
        found = flight_azimuth_deg(math.degrees(lat0), descending=descending)
        assert found == pytest.approx(azimuth, abs=1e-3)


REAL = {
    # name: VNIR pointing (of TIR where VNIR was off), its sign not felt in the first
    "AST_L1T_00303042000203404_20150409092553_2788": 0.005,
    "AST_L1T_00305032000040446_20150409135350_78838": 5.721,
    "AST_L1T_00309032000003144_20150411122552_103734": -8.583,
}


def descending_node(text, pointing, sign=1):
    """Local hour and longitude where the orbit of a real granule crosses the equator."""
    lons = [float(x) for x in re.findall(r"PointLongitude>(-?[\d.]+)<", text)]
    lats = [float(x) for x in re.findall(r"PointLatitude>(-?[\d.]+)<", text)]
    hour, minute, second = re.search(r"TimeofDay>(\d+):(\d+):([\d.]+)<", text).groups()
    hours = int(hour) + int(minute) / 60 + float(second) / 3600
    # Orbits go around the Earth's centre: geocentric latitude.
    lat = math.atan(0.993306 * math.tan(math.radians(sum(lats) / 4)))
    # From the target towards the sensor, over the arc between target and sub-satellite point.
    arc = math.radians(view_zenith_deg(pointing)) - math.radians(abs(pointing))
    flight = flight_azimuth_deg(math.degrees(lat))
    towards = math.radians(view_azimuth_deg(sign * pointing, flight))
    below = math.asin(
        math.sin(lat) * math.cos(arc) + math.cos(lat) * math.sin(arc) * math.cos(towards)
    )
    east = math.atan2(
        math.sin(towards) * math.sin(arc) * math.cos(lat),
        math.cos(arc) - math.sin(lat) * math.sin(below),
    )
    inclination = math.radians(INCLINATION_DEG)
    before = math.asin(math.sin(below) / math.sin(inclination))  # of orbit, to the node
    minutes = math.degrees(before) / 360 * PERIOD_MIN
    # Westward to the node: along the orbit, and the Earth turning below it.
    west = math.degrees(-math.atan(math.cos(inclination) * math.tan(before)))
    west += 360 * minutes / SIDEREAL_DAY_MIN
    node = sum(lons) / 4 + math.degrees(east) - west
    return (hours + minutes / 60 + node / 15) % 24, node


def test_sign_of_the_pointing_angle_on_real_granules(shared):
    """Local time and ground track of Terra: only the right sign fits all three granules."""

    def nodes(sign):
        folder = shared / "data/aster_l1t_metadata"
        texts = {name: (folder / f"{name}.hdf.xml").read_text() for name in REAL}
        return [descending_node(texts[name], REAL[name], sign) for name in REAL]

    def off_path(node_deg):
        """Distance from the nearest path of WRS-2, in paths: see `view_azimuth_deg`."""
        return abs(((-64.60 - node_deg) * 233 / 360 + 0.5) % 1 - 0.5)

    right, wrong = nodes(1), nodes(-1)
    hours = [hour for hour, _ in right]
    assert max(hours) - min(hours) < 2 / 60
    assert 10.7 < min(hours) < 10.8
    # Terra keeps its track within a tenth of a path (17 km), or nearly so in its first year.
    assert max(off_path(node) for _, node in right) < 0.12
    hours = [hour for hour, _ in wrong]
    assert max(hours) - min(hours) > 10 / 60
    assert max(off_path(node) for _, node in wrong) > 0.3


def test_both_swaths_point_to_the_same_side_on_real_granules(shared):
    xml = r"ASTER{}PointingAngle</PSAName>\s*<PSAValue>(-?[\d.]+)"
    met = r'"{}".*?POINTINGANGLE\s.*?VALUE\s*=\s*(-?[\d.]+)'
    for name, pattern, side in (
        ("aster_l1t_metadata/AST_L1T_00305032000*.xml", xml, 90),
        ("aster_l1t_metadata/AST_L1T_00309032000*.xml", xml, -90),
        ("aster_l1b/*.met", met, 90),
    ):
        text = next((shared / "data").glob(name)).read_text()
        vnir, swir = (
            float(re.search(pattern.format(swath), text, re.DOTALL)[1])
            for swath in ("VNIR", "SWIR")
        )
        assert vnir == pytest.approx(swir, abs=0.1), name
        for pointing in (vnir, swir):
            assert view_azimuth_deg(pointing, 192.0) == 192.0 + side

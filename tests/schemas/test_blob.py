"""Tile blobs: what goes in comes out, and nothing else is believed."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoquarry.schemas import blob
from geoquarry.schemas.errors import BlobError

RASTERS = st.sampled_from(blob.DTYPES).flatmap(
    lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9))
)


@given(RASTERS, st.sampled_from(blob.CODECS), st.booleans())
def test_a_raster_survives_the_round_trip(raster, codec, delta):
    back = blob.decode(blob.encode(raster, codec=codec, delta=delta))
    assert back.dtype == raster.dtype
    np.testing.assert_array_equal(back, raster)


@given(st.binary(max_size=80))
def test_outside_bytes_are_refused_politely(data):
    with pytest.raises(BlobError):
        blob.decode(data)


@given(RASTERS.filter(lambda r: r.size > 0), st.data())
def test_no_flipped_bit_goes_unnoticed(raster, data):
    """Codec and filter may be re-labelled harmlessly only if the pixels stay the same."""
    packed = bytearray(blob.encode(raster, codec="raw", delta=False))
    place = data.draw(st.integers(0, len(packed) * 8 - 1))
    packed[place // 8] ^= 1 << (place % 8)
    try:
        back = blob.decode(bytes(packed))
    except BlobError:
        return
    assert back.dtype == raster.dtype
    assert back.tobytes() == raster.tobytes()


def test_a_bomb_is_refused_before_anything_is_allocated():
    head = blob.HEADER.pack(blob.MAGIC, 1, 0, 2, 1, 400_000, 400_000, 0)
    with pytest.raises(BlobError, match="over the limit"):
        blob.decode(head + b"x")


def test_a_payload_longer_than_its_header_says_is_refused():
    packed = bytearray(blob.encode(np.zeros((64, 64), np.uint8), codec="zlib"))
    struct.pack_into("<I", packed, 8, 2)
    with pytest.raises(BlobError, match="needs 128"):
        blob.decode(bytes(packed))


def test_a_truncated_blob_is_refused():
    packed = blob.encode(np.arange(64, dtype=np.uint8).reshape(8, 8))
    for end in (0, 10, 20, len(packed) - 1):
        with pytest.raises(BlobError):
            blob.decode(packed[:end])


def test_delta_packs_smooth_rasters_better():
    ramp = np.add.outer(np.arange(256), np.arange(256)).astype(np.uint8)
    assert len(blob.encode(ramp)) < len(blob.encode(ramp, delta=False))


def test_only_plain_rasters_are_taken():
    for bad in (np.zeros(3), np.zeros((2, 2), bool), np.zeros((2, 2, 2), np.uint8)):
        with pytest.raises(BlobError):
            blob.encode(bad)

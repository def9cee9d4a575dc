"""Addresses as text: what names an object, and what of it may be told."""

import pytest

from polymodal.core.addresses import Address, canonical, has_password, is_link, name_of, told_address
from polymodal.core.files import told_path

SIGNED = "https://photos.s3.amazonaws.com/7.jpg?X-Amz-Credential=AKIA%2F2026&X-Amz-Signature=c0ffee&id=3"


@pytest.mark.parametrize(
    "text", ["s3://b/k.png", " HTTPS://x.org/a", "gs://b/k", "hf://datasets/u/d/a.wav", "az://c/k"]
)
def test_addresses_are_told_from_paths(text):
    assert is_link(text)


@pytest.mark.parametrize(
    "text", ["a.png", "C:\\a.png", "file:///a.png", "postgresql://h/d#t", "s3:/b/k", "zip://a::s3://b"]
)
def test_paths_are_none(text):
    assert not is_link(text)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (SIGNED, "https://photos.s3.amazonaws.com/7.jpg"),
        ("https://ann:secret@x.org:8080/a@b.png#top", "https://x.org:8080/a@b.png"),
        ("https://x.org:8080/a@b.png", "https://x.org:8080/a@b.png"),
        ("s3://AKIA:se/cr:et@photos/7.jpg", "s3://photos/7.jpg"),
        ("s3://photos/ann@home/7#?.jpg", "s3://photos/ann@home/7#?.jpg"),
        ("abfs://box@account.dfs.core.windows.net/7.jpg", "abfs://box@account.dfs.core.windows.net/7.jpg"),
    ],
)
def test_nothing_is_told_that_lets_its_bearer_in(address, told):
    assert told_address(address) == told_path(address) == told


def test_an_object_is_known_again_however_it_was_signed():
    again = SIGNED.replace("c0ffee", "beef").replace("2026", "2027")
    assert canonical(SIGNED) == canonical(again) == "https://photos.s3.amazonaws.com/7.jpg?id=3"
    assert canonical("https://x.org/a?Signature=1&Expires=2&id=4") == canonical("https://ann:pw@x.org/a?id=4")
    assert canonical("s3a://b/k") == canonical("S3://b/k")


def test_a_query_that_is_no_signature_names_another_object():
    assert canonical("https://x.org/a?sr=1&st=2") != canonical("https://x.org/a?sr=2&st=2")
    assert canonical("https://x.org/a?expires=1") != canonical("https://x.org/a?expires=2")


def test_names():
    assert name_of(SIGNED) == "7.jpg"
    assert name_of("https://x.org/my%20photo.png") == "my photo.png"
    assert name_of("s3://b/scans/brain.nii.gz") == "brain.nii.gz"
    assert not has_password("s3://b/a@b.png")
    assert has_password("s3://k:s@b/a.png")


@pytest.mark.parametrize(
    ("table", "cell", "named"),
    [
        ("s3://b/data/t.csv", "photos/7.jpg", "s3://b/data/photos/7.jpg"),
        ("s3://b/data/t.csv", "../7.jpg", "s3://b/7.jpg"),
        ("s3://b/data/t.csv", "../../../other/7.jpg", "s3://b/other/7.jpg"),
        ("https://ann:pw@x.org/d/t.csv?token=1#May", "/p/7.jpg", "https://ann:pw@x.org/p/7.jpg"),
        ("https://x.org/t.csv", "https://y.org/7.jpg", "https://y.org/7.jpg"),
    ],
)
def test_cells_are_relative_to_their_table(table, cell, named):
    assert Address.of_folder(table).joined(cell) == named

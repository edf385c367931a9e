"""Ranges and validators: what goes out comes back, and no text breaks a parser."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aero_browser_disk.remote.byte_ranges import (
    ByteRange,
    ContentRange,
    EntityTag,
    MultipleRangesError,
    UnsatisfiableRangeError,
    format_http_date,
    parse_content_range,
    parse_entity_tags,
    parse_http_date,
    parse_range,
)

TIB = 1 << 40
sizes = st.integers(0, 2 * TIB)
# Text as a hostile client sends it: mostly from the characters that mean something.
header_texts = st.text() | st.text(alphabet='bytes=-0123456789,*/ \t"W', max_size=60)
digits = st.text(alphabet="0123456789", min_size=1, max_size=30)
opaque_tags = st.text(
    alphabet=st.characters(min_codepoint=0x21, max_codepoint=0xFF).filter(
        lambda character: character != '"' and not 0x7F <= ord(character) < 0x80
    )
)
entity_tags = st.builds(EntityTag, opaque_tags, st.booleans())


@st.composite
def byte_ranges(draw: st.DrawFn) -> ByteRange:
    start = draw(st.integers(0, 2 * TIB))
    return ByteRange(start, start + draw(st.integers(1, TIB)))


# ── ranges ──


@given(byte_ranges())
def test_a_range_comes_back_from_its_header(asked: ByteRange) -> None:
    assert parse_range(asked.header, asked.stop) == asked
    assert asked.length == asked.stop - asked.start


@given(header_texts, sizes)
@example("bytes=" + "9" * 5000 + "-", 10)
@example("bytes=0-" + "9" * 5000, 10)
@example("bytes=-" + "9" * 5000, 10)
@example("bytes=²-", 10)
def test_no_range_header_breaks_the_parser_or_leaves_the_image(value: str, size: int) -> None:
    try:
        asked = parse_range(value, size)
    except UnsatisfiableRangeError:
        assert "-" in value
    except MultipleRangesError:
        assert "," in value
    else:
        assert asked is None or 0 <= asked.start < asked.stop <= size


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 200))
def test_a_range_selects_the_bytes_that_slicing_selects(first: int, extra: int, size: int) -> None:
    image = bytes(range(200))[:size]
    for header, expected in (
        (f"bytes={first}-{first + extra}", image[first : first + extra + 1]),
        (f"bytes={first}-", image[first:]),
        (f"bytes=-{first}", image[-first:] if first else b""),
    ):
        try:
            asked = parse_range(header, size)
        except UnsatisfiableRangeError:
            assert expected == b""
        else:
            assert image[asked.start : asked.stop] == expected if asked else size == 0


@pytest.mark.parametrize(
    "value",
    [
        *("", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=5-4", "bytes=a-b", "bytes=1"),
        *("bytes=1-2-3", "bytes= = 1-2", "bytes =0-1", "bytes=+1-2", "bytes=0x1-2", "bytes=1 - 2"),
        *(
            "sectors=0-1",
            "=0-1",
            "0-1",
            "bytes:0-1",
            "bytes=\u0663-\u0664",
            "bytes=0-1,x",
            "bytes=0-1;2-3",
        ),
    ],
)
def test_a_range_header_that_makes_no_sense_is_ignored(value: str) -> None:
    assert parse_range(value, 100) is None


@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("BYTES=0-9", 0, 10),
        ("bytes=90-1000", 90, 100),
        ("bytes=99-", 99, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-1000", 0, 100),
        ("bytes=00000000000000000000000000000000000007-8", 7, 9),
        ("bytes= 3-4 ", 3, 5),
        ("bytes=, 3-4 ,", 3, 5),
    ],
)
def test_single_ranges(value: str, start: int, stop: int) -> None:
    assert parse_range(value, 100) == ByteRange(start, stop)


@pytest.mark.parametrize("value", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_ranges_that_hold_no_byte_are_unsatisfiable(value: str) -> None:
    with pytest.raises(UnsatisfiableRangeError) as error:
        parse_range(value, 100)
    assert error.value.size == 100


def test_of_an_empty_image_only_a_suffix_is_not_unsatisfiable() -> None:
    assert parse_range("bytes=-5", 0) is None
    with pytest.raises(UnsatisfiableRangeError):
        parse_range("bytes=0-", 0)


@pytest.mark.parametrize("value", ["bytes=0-1,3-4", "bytes=0-,-1", "bytes=200-300,0-1"])
def test_several_ranges_are_told_apart(value: str) -> None:
    with pytest.raises(MultipleRangesError):
        parse_range(value, 100)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (-1, 5), (7, 3)])
def test_a_range_holds_at_least_one_byte(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="not a range"):
        ByteRange(start, stop)


# ── Content-Range ──


@given(byte_ranges() | st.none(), st.integers(0, TIB) | st.none())
def test_a_content_range_comes_back_from_its_header(
    found: ByteRange | None, more: int | None
) -> None:
    if found is None and more is None:
        more = 0
    size = None if more is None else more + (found.stop if found else 0)
    said = ContentRange(found, size)
    assert parse_content_range(str(said)) == said


@given(header_texts | st.builds("bytes {}-{}/{}".format, digits, digits, digits))
def test_a_content_range_is_whole_or_refused(value: str) -> None:
    try:
        said = parse_content_range(value)
    except ValueError:
        return
    assert said.range is None or said.size is None or said.range.stop <= said.size


@pytest.mark.parametrize(
    "value",
    [
        *("", "bytes", "bytes 0-1", "bytes */*", "bytes 5-4/10", "bytes 0-10/10", "bytes 0-1/-1"),
        *("bytes=0-1/10", "sectors 0-1/10", "bytes  0-1/10", "bytes 0-1/10 x", "bytes 0-1/1\u0660"),
        *("bytes 0-/10", "bytes -1/10", "0-1/10"),
    ],
)
def test_a_malformed_content_range_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"Content-Range|not a range|reaches past"):
        parse_content_range(value)


def test_what_content_ranges_look_like() -> None:
    assert str(ContentRange(ByteRange(0, 1), 10)) == "bytes 0-0/10"
    assert str(ContentRange(None, 10)) == "bytes */10"
    assert str(ContentRange(ByteRange(5, 7), None)) == "bytes 5-6/*"
    assert parse_content_range("Bytes 5-6/*") == ContentRange(ByteRange(5, 7), None)


# ── entity tags ──


@given(entity_tags)
def test_an_entity_tag_comes_back_from_its_header(tag: EntityTag) -> None:
    assert EntityTag.parse(str(tag)) == tag


@given(st.lists(entity_tags, min_size=1, max_size=5), st.sampled_from([",", ", ", " , ,", "\t,"]))
def test_a_list_of_tags_comes_back_commas_in_them_or_not(
    tags: list[EntityTag], separator: str
) -> None:
    assert parse_entity_tags(separator.join(map(str, tags))) == tuple(tags)


@given(header_texts)
def test_no_text_breaks_the_tag_parsers(value: str) -> None:
    try:
        tags = parse_entity_tags(value)
    except ValueError:
        return
    assert tags == "*" or len(tags) >= 1


@pytest.mark.parametrize(
    "value", ["", ",", "abc", '"a', 'w/"a"', '"a" "b"', '"a""b"', '"a b"', '*, "a"']
)
def test_malformed_tag_lists_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="entity tags"):
        parse_entity_tags(value)


def test_a_weak_tag_never_matches_strongly() -> None:
    strong, weak = EntityTag("a"), EntityTag("a", weak=True)
    assert strong.strong_match(EntityTag("a"))
    assert not strong.strong_match(weak)
    assert not weak.strong_match(weak)
    assert weak.weak_match(strong)
    assert not weak.weak_match(EntityTag("b"))


# ── dates ──


@given(st.integers(-(10**10), 250_000_000_000))
def test_a_date_comes_back_from_its_header(epoch_s: int) -> None:
    assert parse_http_date(format_http_date(epoch_s)) == epoch_s


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_the_three_forms_of_rfc_9110(value: str) -> None:
    assert parse_http_date(value) == 784111777


def test_a_two_digit_year_is_at_most_fifty_years_ahead() -> None:
    this_year = time.gmtime().tm_year
    for ahead, expected in ((50, this_year + 50), (51, this_year - 49)):
        parsed = parse_http_date(f"Sunday, 06-Nov-{(this_year + ahead) % 100:02} 08:49:37 GMT")
        assert parsed is not None
        assert time.gmtime(parsed).tm_year == expected


def test_a_date_is_cut_to_the_second() -> None:
    assert format_http_date(784111777.999) == "Sun, 06 Nov 1994 08:49:37 GMT"


@given(header_texts)
@example("Sun, 31 Feb 1994 08:49:37 GMT")
@example("Sun, 06 Nov 1994 24:00:00 GMT")
@example("Sun, 06 Nov 1994 08:49:61 GMT")
@example("Sun, 06 Nov 0000 08:49:37 GMT")
@example("Sun, 06 Nov 1994 08:49:37 UTC")
@example("Sun Nov    08:49:37 1994")
def test_what_is_no_date_is_none(value: str) -> None:
    assert parse_http_date(value) is None

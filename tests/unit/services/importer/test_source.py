"""Files as they lie on a web server."""

from __future__ import annotations

import gzip
from contextlib import closing
from pathlib import Path

import pytest

from services.importer.source import LINE_BYTES_MAX, Format, Source, SourceError, refuse_same

NCSA = b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1\n'


def lines_of(path: Path) -> list[tuple[bytes, bool]]:
    with closing(Source(str(path))) as source:
        return list(source.lines())


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (NCSA, Format.NCSA),
        (b"", Format.NCSA),
        (b"#Software: Microsoft Internet Information Services 10.0\r\n", Format.W3C),
        (b"\xef\xbb\xbf#Fields: date\n", Format.W3C),
        (b"2026-05-27 08:05:03 10.0.0.4 GET /\n", Format.W3C),
        (b"date,views\n", Format.CSV),
        (b'"Date";"Visits"\n', Format.CSV),
        ("Ngày,Lượt truy cập\n".encode(), Format.CSV),
        (b"\xef\xbb\xbf2026-05-27,12\n", Format.CSV),
        (b"20260527\t12\n", Format.CSV),
    ],
)
def test_the_first_line_tells_the_format(tmp_path: Path, head: bytes, expected: Format) -> None:
    """Nobody has to know what a file is called."""
    path = tmp_path / "x"
    path.write_bytes(head)
    with closing(Source(str(path))) as source:
        assert source.format is expected


def test_gzip_is_told_by_its_content(tmp_path: Path) -> None:
    """Also one of several members, whatever its name is; its position is that on the disk."""
    path = tmp_path / "access.log"
    path.write_bytes(gzip.compress(NCSA * 2) + gzip.compress(NCSA))
    with closing(Source(str(path))) as source:
        assert list(source.lines()) == [(NCSA, True)] * 3
        assert source.position() == source.size == path.stat().st_size


def test_long_lines_are_cut(tmp_path: Path) -> None:
    """Memory is bounded: of a line without end its beginning is read, and the next line is whole again."""
    path = tmp_path / "x"
    path.write_bytes(b"y" * (3 * LINE_BYTES_MAX) + b"\n" + NCSA + b"y" * LINE_BYTES_MAX)
    found = lines_of(path)
    assert [(len(line), is_whole) for line, is_whole in found] == [
        (LINE_BYTES_MAX, False),
        (len(NCSA), True),
        (LINE_BYTES_MAX, False),
    ]


def test_a_file_that_ends_in_the_middle_is_named(tmp_path: Path) -> None:
    """A packed file cut off or damaged is an error with its name, after the lines that could be read."""
    path = tmp_path / "access.log.3.gz"
    packed = gzip.compress(b"".join(NCSA.replace(b"/ ", b"/%d " % n) for n in range(9_000)))
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match=r"access\.log\.3\.gz is damaged or ends in the middle"):
        lines_of(path)
    path.write_bytes(packed[:2] + b"\xff" * 40)
    with pytest.raises(SourceError, match=r"access\.log\.3\.gz is damaged"):
        Source(str(path))


def test_no_such_file_is_named(tmp_path: Path) -> None:
    """An absent file and a folder are one sentence each."""
    with pytest.raises(SourceError, match="nowhere cannot be read"):
        Source(str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match="cannot be read"):
        Source(str(tmp_path))


def test_copies_are_refused(tmp_path: Path) -> None:
    """A file and its packed copy would count twice."""
    (tmp_path / "access.log.1").write_bytes(NCSA * 100)
    (tmp_path / "access.log.1.gz").write_bytes(gzip.compress(NCSA * 100))
    (tmp_path / "empty").write_bytes(b"")
    names = ["empty", "access.log.1", "empty", "access.log.1.gz"]
    sources = [Source(str(tmp_path / name)) for name in names]
    try:
        refuse_same(sources[:3])
        with pytest.raises(SourceError, match=r"access\.log\.1 and access\.log\.1\.gz"):
            refuse_same(sources)
    finally:
        for source in sources:
            source.close()

"""Whatever a function does to its process, this one goes on, and the next call is answered."""

import ctypes
import sys
import time

import pytest

from gaga.core.isolated import Isolated


def obey(content: bytes) -> bytes:
    """Do what the bytes say."""
    if content == b"die":
        ctypes.string_at(0)
    if content == b"hang":
        time.sleep(60)
    if content == b"grow":
        return bytes(bytearray(1 << 33))[:1]
    if content in (b"", b"refuse"):
        raise ValueError("no")
    return content * 2


@pytest.fixture(scope="module")
def isolated():
    with Isolated(obey, seconds=5.0, most=100) as found:
        yield found


def test_bytes_go_and_come(isolated):
    assert isolated(b"ab") == b"abab"
    with pytest.raises(ValueError, match="no"):
        isolated(b"refuse")
    assert isolated(b"cd") == b"cdcd"


def test_a_process_that_dies_is_an_error_of_its_bytes_alone(isolated):
    with pytest.raises(ValueError, match="dies of it"):
        isolated(b"die")
    assert isolated(b"ab") == b"abab"


def test_an_answer_that_is_too_long_is_an_error(isolated):
    with pytest.raises(ValueError, match="dies of it"):
        isolated(b"x" * 60)
    assert isolated(b"ab") == b"abab"


def test_what_takes_too_long_is_ended():
    with Isolated(obey, seconds=0.2, most=100) as isolated:
        with pytest.raises(ValueError, match="too long"):
            isolated(b"hang")
        assert isolated(b"ab") == b"abab"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone")
def test_memory_has_an_end(isolated):
    with pytest.raises(ValueError):
        isolated(b"grow")
    assert isolated(b"ab") == b"abab"

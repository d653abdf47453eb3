"""Framing: whole messages whatever the pieces, and nothing else gets through."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.session.channel import LARGEST, Channel, ChannelError, Message, decoded, encoded

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(0, (1 << 64) - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and the other end as a bare socket."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


def frame(text: bytes, fds: int = 0) -> bytes:
    return struct.pack(">IB", len(text), fds) + text


@given(VALUES)
def test_a_value_comes_back_as_it_was(value: object) -> None:
    assert decoded(encoded(value)) == value


@given(st.lists(st.dictionaries(st.text("ab"), VALUES, max_size=3), max_size=4), st.data())
def test_messages_in_any_pieces(bodies: list[dict[str, object]], data: st.DataObject) -> None:
    ours, theirs = socket.socketpair()
    with closing(Channel(ours)) as sender, closing(Channel(theirs)) as receiver:
        for body in bodies:
            sender.send(body)
        assert sender.is_flushed
        stream = theirs.recv(1 << 20, socket.MSG_DONTWAIT) if bodies else b""
        found = []
        while stream:
            size = data.draw(st.integers(1, len(stream)))
            ours.send(stream[:size])
            stream = stream[size:]
            found += [message.body for message in receiver.receive()]
        assert found == bodies


HOSTILE = {
    "no JSON": frame(b"hello"),
    "a list": frame(b"[]"),
    "a number": frame(b"1"),
    "not a number": frame(b'{"a":NaN}'),
    "no UTF-8": frame(b"\xff\xfe"),
    "too long a number": frame(b'{"a":' + b"9" * 5000 + b"}"),
    "nested": frame(b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"),
    "too large": struct.pack(">IB", LARGEST + 1, 0),
    "far too large": b"\xff" * 5,
    "a socket that did not come": frame(b"{}", 1),
    "many sockets": frame(b"{}", 255),
    "bytes that are none": frame(b'{"a":{"$hex":"xx"}}'),
    "bytes that are a number": frame(b'{"a":{"$hex":1}}'),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_message_ends_it(ends: tuple[Channel, socket.socket], data: bytes) -> None:
    channel, other = ends
    other.sendall(data)
    with pytest.raises(ChannelError) as error:
        channel.receive()
    assert len(str(error.value).splitlines()) == 1


def test_half_a_message_waits(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.sendall(frame(b'{"a":1}')[:-1])
    assert channel.receive() == []
    other.sendall(b"}")
    assert [message.body for message in channel.receive()] == [{"a": 1}]


def test_what_was_sent_before_the_end_is_taken(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.sendall(frame(b'{"a":1}') + frame(b'{"b":2}')[:-2])
    other.close()
    assert [message.body for message in channel.receive()] == [{"a": 1}]
    assert channel.ended


def test_a_reader_who_does_not_read_blocks_nobody(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    body = {"a": "x" * (8 << 20)}
    for _ in range(9):
        channel.send(body)
    with pytest.raises(ChannelError, match="does not read"):
        channel.send(body)
    other.close()
    assert channel.flush()
    assert channel.is_flushed


def test_file_descriptors_go_with_their_message() -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Channel(ours), Channel(theirs)
    reading, writing = os.pipe()
    sender.send({"a": 1})
    sender.send({"b": 2}, [writing])
    sender.send({"c": 3})
    messages: list[Message] = []
    while len(messages) < 3:
        messages += receiver.receive()
    assert [len(message.fds) for message in messages] == [0, 1, 0]
    os.write(messages[1].fds[0], b"through")
    os.close(messages[1].fds[0])
    # The sender's is closed too, so this is all there is.
    assert os.read(reading, 100) == b"through"
    assert os.read(reading, 100) == b""
    os.close(reading)
    sender.close()
    receiver.close()


def test_more_file_descriptors_than_asked_for(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    fds = [os.open(os.devnull, os.O_RDONLY) for _ in range(6)]
    try:
        socket.send_fds(other, [frame(b"{}")], fds[:1])
        with pytest.raises(ChannelError):
            channel.receive()
        socket.send_fds(other, [frame(b"{}")], fds)
        with pytest.raises(ChannelError):
            channel.receive()
    finally:
        for fd in fds:
            os.close(fd)

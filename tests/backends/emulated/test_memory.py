from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tdxdbg.backends.emulated.memory import PAGE, Memory, RamImage, Slot

#: Two slots with a hole between them.
SLOTS = (Slot(0, 4 * PAGE), Slot(0x10_0000, 2 * PAGE))
WRITES = st.lists(
    st.tuples(
        st.sampled_from([0, PAGE - 3, 2 * PAGE, 3 * PAGE + 8, 0x10_0000, 0x10_0000 + PAGE]),
        st.binary(min_size=1, max_size=8),
    ),
    max_size=6,
)


def test_addresses_and_pages() -> None:
    memory = Memory(SLOTS)
    assert memory.size == 6 * PAGE
    assert [memory.offset(gpa) for gpa in (0, 4 * PAGE, 0xF_FFFF, 0x10_0001)] == [
        0,
        -1,
        -1,
        4 * PAGE + 1,
    ]
    assert [memory.gpa_of_page(page) for page in (0, 3, 4, 5)] == [
        0,
        3 * PAGE,
        0x10_0000,
        0x10_1000,
    ]


def test_reads_and_writes_do_not_leave_the_ram() -> None:
    memory = Memory(SLOTS)
    assert memory.read(4 * PAGE - 2, 4) is None
    assert not memory.write(4 * PAGE - 2, b"1234")
    assert memory.read(4 * PAGE - 2, 2) == b"\0\0"
    assert memory.write(PAGE - 2, b"1234")
    assert memory.read(PAGE - 2, 4) == b"1234"
    assert memory.dirty == {0, 1}


def test_writing_what_is_there_changes_nothing() -> None:
    memory = Memory(SLOTS)
    memory.write(0, bytes(16))
    assert not memory.dirty
    assert not memory.changed


def test_zero_takes_any_size() -> None:
    memory = Memory(SLOTS)
    memory.write(0, b"x")
    memory.write(0x10_0000, b"y")
    memory.zero(0, 1 << 51)
    assert memory.buffer[:] == bytes(memory.size)


@given(st.lists(WRITES, min_size=1, max_size=5), st.data())
def test_every_checkpoint_can_be_reached_from_everywhere(
    rounds: list[list[tuple[int, bytes]]], data: st.DataObject
) -> None:
    memory = Memory(SLOTS)
    images: list[tuple[RamImage, bytes]] = []
    for writes in rounds:
        for gpa, content in writes:
            memory.write(gpa, content)
        images.append((memory.checkpoint()[0], memory.buffer[:]))
    for _ in range(4):
        for gpa, content in data.draw(WRITES):
            memory.write(gpa, content)
        image, expected = data.draw(st.sampled_from(images))
        memory.restore(image)
        assert memory.buffer[:] == expected
        assert not memory.dirty


def test_a_checkpoint_copies_what_changed_only() -> None:
    memory = Memory(SLOTS)
    memory.write(0, b"a")
    first, pages = memory.checkpoint()
    assert (first.new_bytes, pages) == (PAGE, (0,))
    memory.write(2 * PAGE, b"b")
    second, pages = memory.checkpoint()
    assert (second.new_bytes, pages) == (PAGE, (2,))
    assert second.page(0) is first.page(0)
    assert memory.checkpoint()[0].new_bytes == 0


def test_the_digest_is_of_the_bytes() -> None:
    memory, other = Memory(SLOTS), Memory(SLOTS)
    memory.write(5, b"x")
    assert memory.digest() != other.digest()
    other.write(5, b"x")
    assert memory.digest() == other.digest()

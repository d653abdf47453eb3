"""How far the CPU has come, to the instruction, at a cost for each block only.

Theory of operation. Unicorn can stop after a number of instructions, by a call
before each of them, which makes it 3 times slower. Here each translated block
calls `blocks.S` once, which adds the block's instructions to a counter. A block
that is longer than what is left is put off for a shorter translation of the same
code, which QEMU makes of it for one turn (`cflags_next_tb`) and keeps beside the
other. A run that ends inside a block has done the instructions of it that are
before RIP; where they start is known, because QEMU wrote it down behind the
block's code.

An instruction is what QEMU translates as one: each repetition of a string
instruction is a block of its own, so it is counted again.

It depends on the insides of Unicorn 2.1.4, for Linux on x86-64.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from struct import Struct
from typing import Final

from tdxdbg.abi.regs import U64
from tdxdbg.backends.emulated import flags
from tdxdbg.backends.emulated.context import HF_CS64
from tdxdbg.backends.emulated.machine_code import MachineCode
from tdxdbg.errors import BackendError

#: blocks.S.
MACHINE_CODE: Final = bytes.fromhex(
    "488b042448ffc84883e0c048398060ffffff0f85150200004883b870ffffff010f85c2000000440fb78056ff"
    "ffff4c8b094d01c84c3b4108770c4c894910488941184c8901c34c8b51484883792800742141f782d88a0000"
    "00020000741441f782008b0000080000007507ba02000000eb534c8b9870ffffff488b51204c29ca743e41f6"
    "c302752449c1eb0875154c3b412076a6418952186641c782428a0000ffffc34c39da490f47d3ebe848837970"
    "0074d54c3b493874cfba06000000eb05ba010000004c8b51484889513048894140c6876d0500000141c64215"
    "016641c782428a0000ffffc34883b870ffffff007413440fb78056ffffff4c8b094d01c8e941ffffff4c8b49"
    "504c8b51584c8b59604c8b408849c1e80c4d39c8733d43803c0300751043c604030143803c02000f85ee0000"
    "004c8b409049c1e80c4d39c8732943803c0300752243c604030143803c02000f85ca000000eb1048c78070ff"
    "ffff01000000e9bbfefffff78050ffffff000001007558ba0500000048837890ff0f853effffff4c8b8040ff"
    "ffff4181e0ff0f00004c0340884c034168440fb78854ffffff4183e90276b0664181380fc77512458a500241"
    "80e2384180fa080f8400ffffff49ffc041ffc975deeb8c4c8b51484c8b59184d85db741841f78350ffffff00"
    "000100740b4181a2d88a0000fffffeffba0100000041f782d88a00000000010074136683b856ffffff010f84"
    "12feffffe97bfeffffbaffffffffe971feffffba03000000e998feffff4883e84048398060ffffff0f84dafd"
    "ffffba04000000e97dfeffffc3"
)

# struct uc_struct, CPUState, TCGContext: offsets in bytes.
_UC_CPU: Final = 0x1B8
_UC_TCG: Final = 0x300
_UC_LINE_SIZE: Final = 0x7D8
_UC_NO_EXIT_REQUEST: Final = 0x7F2
_CPU_CFLAGS_NEXT: Final = 0x18
_CPU_ENV: Final = 0x128
_CPU_DECREMENTER: Final = 0x130
_DECREMENTER_AT: Final = 0x8A40
_ENV_AT: Final = 0x8A50
_TCG_BUFFER: Final = 0xA8
_TCG_BUFFER_SIZE: Final = 0xB0
_TCG_FLUSHES: Final = 0x98D0
_TCG_UC: Final = 0x9970
#: Code starts at a multiple of this.
_LINE: Final = 64

# TranslationBlock: 64-bit words, from the start of its code.
_PC: Final = -24
#: Flags, size, number of instructions: 32, 16, 16 bits.
_SIZES: Final = -22
_CODE_SIZE: Final = -19
_SEEN: Final = -18
_PAGES: Final = -15, -14

#: Bytes that say where an instruction starts, at most.
_MOST_SAID: Final = 12
#: Answers that are kept.
_MOST_KNOWN: Final = 1 << 16

_BEGIN: Final = Struct("<8Q")
_COUNT, _BEFORE, _BLOCK, _LIMIT, _REASON, _STARTED, _NEXT = 0, 2, 3, 4, 6, 7, 8

#: What blocks.S is to know of a block, as it names them.
_PLAIN: Final = 1
_EXCHANGE_FIRST: Final = 2
_SPLIT_SHIFT: Final = 8


class Reason:
    """Why `blocks.S` ended a run."""

    NONE: Final = 0
    LIMIT: Final = 1
    #: The guest takes interrupts now.
    WINDOW: Final = 2
    #: The next block is new and in a page that the guest may write to.
    NEW_CODE: Final = 3
    LOST: Final = 4
    #: The next block is new and may have a CMPXCHG8B; `split_next`.
    EXCHANGE: Final = 5
    #: A CMPXCHG8B comes next, and has to be the first instruction after a start.
    RESTART: Final = 6

    #: None of the run's own: it goes on.
    GO_ON: Final = frozenset({NEW_CODE, EXCHANGE, RESTART})


class State(ctypes.Structure):
    """What `blocks.S` works on.

    `count`: instructions of all blocks that were begun, `before` that of the last one, `block`: its
    code. The run ends at `limit`; `first_limit` is the same, or 0 if each block is to be looked at:
    with `window`, it ends when the guest takes interrupts. `started`: what was done at the last
    start. `next`: the block that was not begun. `writable` and `code`: a byte for each of the
    first `pages` pages of the RAM, which is at `ram`. `hooked`: whether there are code hooks.
    """

    _fields_ = (
        ("count", ctypes.c_uint64),
        ("first_limit", ctypes.c_uint64),
        ("before", ctypes.c_uint64),
        ("block", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("window", ctypes.c_uint64),
        ("reason", ctypes.c_uint64),
        ("started", ctypes.c_uint64),
        ("next", ctypes.c_uint64),
        ("cpu", ctypes.c_uint64),
        ("pages", ctypes.c_uint64),
        ("writable", ctypes.c_uint64),
        ("code", ctypes.c_uint64),
        ("ram", ctypes.c_uint64),
        ("hooked", ctypes.c_uint64),
    )


class Blocks:
    """The counter of one engine."""

    def __init__(self, handle: int, ram: int, pages: int, writable: int, code: int) -> None:
        """`writable`, `code`: addresses of `pages` bytes, one for each page of the RAM at `ram`."""
        self._check_layout(handle)
        self._code = MachineCode(MACHINE_CODE)
        #: Addresses of the callback for blocks, and of one that does nothing.
        self.callback = self._code.address
        self.nothing = self.callback + len(MACHINE_CODE) - 1
        cpu = _word(handle + _UC_CPU)
        self.state = State(cpu=cpu, pages=pages, writable=writable, code=code, ram=ram)
        self._memory = memoryview(self.state).cast("B")
        self._words = self._memory.cast("Q")
        self._next_flags = ctypes.c_int32.from_address(cpu + _CPU_CFLAGS_NEXT)
        self._no_exit_request = ctypes.c_uint8.from_address(handle + _UC_NO_EXIT_REQUEST)
        tcg = _word(handle + _UC_TCG)
        self._buffer = _word(tcg + _TCG_BUFFER)
        size = _word(tcg + _TCG_BUFFER_SIZE)
        block = (ctypes.c_uint8 * size).from_address(self._buffer)
        self._bytes = memoryview(block).cast("B")
        self._quads = self._bytes.cast("Q")
        #: Answers, as long as no code is forgotten, whose place another block may take.
        self._known: dict[tuple[int, int], tuple[int, int]] = {}
        self._known_since = 0
        flushes = (ctypes.c_uint32 * 1).from_address(tcg + _TCG_FLUSHES)
        self._flushes = memoryview(flushes).cast("B").cast("I")
        self.stop_inside(may=False)

    # --- a run ------------------------------------------------------------------------

    def begin(self, limit: int, *, window: bool = False) -> None:
        """The next run ends after `limit` instructions; `window`: or when interrupts are taken."""
        _BEGIN.pack_into(self._memory, 0, 0, 0 if window else limit, 0, 0, limit, window, 0, 0)

    def go_on(self, most: int = -1) -> None:
        """The next start belongs to the same run, and its first block has `most` instructions."""
        self._words[_REASON] = Reason.NONE
        self._words[_STARTED] = self._words[_COUNT]
        self._next_flags.value = most

    @property
    def count(self) -> int:
        """Instructions done, if the last block that was begun is over."""
        return self._words[_COUNT]

    @property
    def limit(self) -> int:
        """Instructions after which the run ends."""
        return self._words[_LIMIT]

    @property
    def reason(self) -> int:
        """See Reason; NONE if something else ended the run."""
        return self._words[_REASON]

    def done_at(self, address: int) -> int:
        """Instructions done before the one at a linear address, of the last block."""
        words = self._words
        return words[_BEFORE] + self._find(words[_BLOCK], address)[0]

    def operation_at(self, address: int) -> int:
        """CC_OP before the instruction at a linear address, as far as QEMU knew it."""
        return self._find(self._words[_BLOCK], address)[1]

    def _find(self, block: int, address: int) -> tuple[int, int]:
        """Number and CC_OP of the instruction at an address, in a block."""
        if self._flushes[0] != self._known_since:
            self._known_since = self._flushes[0]
            self._known.clear()
        found = self._known.get((block, address))
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[block, address] = self._look_for(block, address)
        return found

    def _look_for(self, block: int, address: int) -> tuple[int, int]:
        if not block:
            return 0, 0
        at = block - self._buffer >> 3
        count = self._quads[at + _SIZES] >> 48
        distance = address - self._quads[at + _PC]
        for number, (place, operation) in enumerate(self._said(at)):
            if place == distance:
                return number, operation
        return count, 0

    def _said(self, at: int) -> Iterator[tuple[int, int]]:
        """Where the instructions of a block start in its code, and their CC_OPs.

        For each of them it says how far its address, its CC_OP and the end of its
        code are from those of the one before, in signed LEB128.
        """
        count = self._quads[at + _SIZES] >> 48
        said = (at << 3) + self._quads[at + _CODE_SIZE]
        numbers = _signed_numbers(self._bytes[said : said + count * _MOST_SAID].tobytes())
        place = operation = 0
        for _ in range(count):
            place += next(numbers)
            operation += next(numbers)
            next(numbers)
            yield place, operation

    @property
    def flushes(self) -> int:
        """How often Unicorn has forgotten all code."""
        return self._flushes[0]

    @property
    def flags(self) -> int:
        """The lower half of RFLAGS and hflags for which the last block that was begun is made."""
        block = self._words[_BLOCK]
        return self._quads[(block - self._buffer >> 3) + _SIZES] & 0xFFFF_FFFF if block else 0

    def stop_inside(self, *, may: bool) -> None:
        """Whether the end of a run that a hook asks for can come inside a block.

        It is a check after each access to memory, in code that is translated from
        now on.
        """
        self._no_exit_request.value = not may
        self.state.hooked = may

    # --- the block that was not begun -------------------------------------------------

    def new_pages(self) -> list[int]:
        """After Reason.NEW_CODE: the pages of the block that was not begun."""
        at = self._words[_NEXT] - self._buffer >> 3
        return [self._quads[at + index] >> 12 for index in _PAGES if self._quads[at + index] != U64]

    def split_next(self) -> None:
        """After Reason.EXCHANGE: find the CMPXCHG8Bs, before each of which a block has to end."""
        at = self._words[_NEXT] - self._buffer >> 3
        sizes = self._quads[at + _SIZES]
        code = self._code_of(at, sizes >> 32 & 0xFFFF)
        exchanges = flags.exchanges(
            code, [start for start, _ in self._said(at)], is_64bit=bool(sizes & HF_CS64)
        )
        later = next((number for number in exchanges if number), 0)
        first = _EXCHANGE_FIRST if 0 in exchanges else 0
        self._quads[at + _SEEN] = _PLAIN | first | later << _SPLIT_SHIFT

    def _code_of(self, at: int, size: int) -> bytes:
        """The guest code that a block was made of."""
        inside = self._quads[at + _PC] & 0xFFF
        here = min(size, 0x1000 - inside)
        first, second = (self._quads[at + index] for index in _PAGES)
        code = ctypes.string_at(self.state.ram + first + inside, here)
        return code + ctypes.string_at(self.state.ram + second, size - here)

    @staticmethod
    def _check_layout(handle: int) -> None:
        cpu, tcg = _word(handle + _UC_CPU), _word(handle + _UC_TCG)
        if (
            _word(cpu + _CPU_DECREMENTER) != cpu + _DECREMENTER_AT
            or _word(cpu + _CPU_ENV) != cpu + _ENV_AT
            or _word(tcg + _TCG_UC) != handle
            or ctypes.c_int32.from_address(cpu + _CPU_CFLAGS_NEXT).value != -1
            or ctypes.c_uint8.from_address(handle + _UC_NO_EXIT_REQUEST).value
            or ctypes.c_uint32.from_address(handle + _UC_LINE_SIZE).value != _LINE
        ):
            raise BackendError(
                "unicorn's blocks are not where 2.1.4 has them: the emulated backend needs "
                "the wheel for Linux on x86-64"
            )


def _word(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value


def _signed_numbers(data: bytes) -> Iterator[int]:
    """Numbers in signed LEB128, as QEMU's encode_search writes them."""
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield value - (1 << shift if byte & 0x40 else 0)
            value = shift = 0

"""Unicorn 2.1.4 through its C interface: only what the vCPU needs, and quickly.

The binding's own register access costs 50 us an exit; here a vCPU's registers
are one block of memory that is saved and restored in one call each (facts:
emulated_vcpu 1). Nothing else in the package calls Unicorn.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Final

from tdxdbg.errors import BackendError

try:
    import unicorn
    from unicorn.unicorn_py3.unicorn import uclib
except ImportError as error:
    raise BackendError(
        f"the emulated backend needs unicorn 2.1.4, which cannot be loaded ({error}): "
        "pip install unicorn==2.1.4"
    ) from error

VERSION: Final = "2.1.4"

# Called at each exit.
_emu_start = uclib.uc_emu_start
_emu_stop = uclib.uc_emu_stop
_context_save = uclib.uc_context_save
_context_restore = uclib.uc_context_restore

#: struct uc_struct: its CPU.
_CPU: Final = 0x1B8
#: Bytes of translated code, at most; then Unicorn forgets all of it.
_MOST_CODE: Final = 128 << 20

_CTL_WRITE: Final = 1 << 30
_SET_MODEL: Final = _CTL_WRITE | 1 << 26 | unicorn.unicorn_const.UC_CTL_CPU_MODEL
_TB_FLUSH: Final = _CTL_WRITE | unicorn.unicorn_const.UC_CTL_TB_FLUSH
_TLB_FLUSH: Final = _CTL_WRITE | unicorn.unicorn_const.UC_CTL_TLB_FLUSH
_TB_REMOVE: Final = _CTL_WRITE | 2 << 26 | unicorn.unicorn_const.UC_CTL_TB_REMOVE_CACHE
_BUFFER_SIZE: Final = _CTL_WRITE | 1 << 26 | unicorn.unicorn_const.UC_CTL_TCG_BUFFER_SIZE

#: Has SVM, and lacks RDRAND, RDSEED and RDTSCP: those arrive as #UD, so that
#: their values are ours (facts: emulated_vcpu 3).
_CPU_MODEL: Final = unicorn.x86_const.UC_CPU_X86_OPTERON_G5

_INTERRUPT_HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
_IN_HOOK = ctypes.CFUNCTYPE(
    ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_void_p
)
_OUT_HOOK = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
)
_CODE_HOOK = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p
)
_WRITE_HOOK = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64,
    ctypes.c_void_p,
)  # fmt: skip
_PLAIN_HOOK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


def _word(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value


class _Msr(ctypes.Structure):
    _fields_ = (("index", ctypes.c_uint32), ("value", ctypes.c_uint64))


def check_version() -> None:
    """Raise BackendError unless this is the Unicorn whose insides are known."""
    found = getattr(unicorn, "__version__", "of an unknown version")
    if found != VERSION:
        raise BackendError(
            f"unicorn {found} is installed, and the emulated backend knows the "
            f"insides of {VERSION} only: pip install unicorn=={VERSION}"
        )


class Unicorn:
    """One x86 engine in flat 64-bit mode.

    Hooks remember what went wrong inside them in `failure`: an exception must
    not cross the C frames below a callback.
    """

    def __init__(self) -> None:
        check_version()
        # Kept here: at the end of the program the module may be gone before this object.
        self._close = uclib.uc_close
        self._free = uclib.uc_context_free
        pointer = ctypes.c_void_p()
        self._check(
            uclib.uc_open(
                unicorn.unicorn_const.UC_ARCH_X86,
                unicorn.unicorn_const.UC_MODE_64,
                ctypes.byref(pointer),
            ),
            "an engine",
        )
        handle = self.handle = pointer.value or 0
        self._check(uclib.uc_ctl(handle, _SET_MODEL, ctypes.c_int(_CPU_MODEL)), "the CPU model")
        size = ctypes.c_uint32(_MOST_CODE)
        self._check(uclib.uc_ctl(handle, _BUFFER_SIZE, size), "a size of the translated code")
        self.failure: BaseException | None = None
        #: Called in a hook: end `start` at this exit.
        self.stop: Callable[[], object] = partial(_emu_stop, handle)
        self._hooks: dict[int, object] = {}

    def __del__(self) -> None:
        """Close the engine; a half-made object has none."""
        handle = getattr(self, "handle", 0)
        if handle:
            self._close(handle)

    # --- running ----------------------------------------------------------------------

    def start(self, address: int) -> int:
        """Run from `address` until something stops it; returns a UC_ERR_* number.

        Raises what a hook raised. With a count of 0 Unicorn does not call anything before
        each instruction (facts: emulated_vcpu 4.1); `blocks` is what ends a run.
        """
        error: int = _emu_start(self.handle, address, 0, 0, 0)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return error

    def flush_tlb(self) -> None:
        """Forget every address translation."""
        uclib.uc_ctl(self.handle, _TLB_FLUSH)

    def search_stores(self, address: int, size: int) -> None:
        """The next store to each page of this process's memory takes the long way (hooks, code)."""
        uclib.tlb_reset_dirty_x86_64(
            ctypes.c_void_p(_word(self.handle + _CPU)),
            ctypes.c_size_t(address),
            ctypes.c_size_t(size),
        )

    def flush_code(self) -> None:
        """Forget all translated code."""
        uclib.uc_ctl(self.handle, _TB_FLUSH)

    def forget_code(self, first: int, end: int) -> None:
        """Forget code that was made of bytes [first, end) of a page, as the engine sees it now."""
        uclib.uc_ctl(self.handle, _TB_REMOVE, ctypes.c_uint64(first), ctypes.c_uint64(end))

    # --- memory -----------------------------------------------------------------------

    def map(self, physical: int, address: int, size: int) -> None:
        """Let `size` bytes of this process at `address` be physical memory at `physical`."""
        self._check(
            uclib.uc_mem_map_ptr(
                self.handle, physical, size, unicorn.unicorn_const.UC_PROT_ALL, address
            ),
            f"mapping {size} bytes of guest memory",
        )

    # --- contexts ---------------------------------------------------------------------

    @cached_property
    def context_size(self) -> int:
        """Bytes of a context, with its header; asking takes milliseconds."""
        size: int = uclib.uc_context_size(self.handle)
        return size

    def new_context(self) -> int:
        """Address of a new context; free it with `free_context`."""
        pointer = ctypes.c_void_p()
        self._check(uclib.uc_context_alloc(self.handle, ctypes.byref(pointer)), "a context")
        return pointer.value or 0

    def free_context(self, context: int) -> None:
        self._free(context)

    def transfers(self, context: int) -> tuple[Callable[[], object], Callable[[], object]]:
        """Two functions: context -> registers of the engine, and registers -> context."""
        return (
            partial(_context_restore, self.handle, context),
            partial(_context_save, self.handle, context),
        )

    @staticmethod
    def context_register(context: int, register: int) -> int:
        """A register of a saved context, computed as Unicorn does (lazy flags)."""
        value = ctypes.c_uint64()
        uclib.uc_context_reg_read(context, register, ctypes.byref(value))
        return value.value

    def read_register(self, register: int) -> int:
        """A register of the engine, the slow way."""
        value = ctypes.c_uint64()
        uclib.uc_reg_read(self.handle, register, ctypes.byref(value))
        return value.value

    def write_register(self, register: int, value: int) -> None:
        """The slow way; never in a hook (facts: emulated_vcpu 2)."""
        uclib.uc_reg_write(self.handle, register, ctypes.byref(ctypes.c_uint64(value)))

    def write_msr(self, index: int, value: int) -> None:
        """The slow way; never for an MSR that is intercepted."""
        msr = _Msr(index, value)
        uclib.uc_reg_write(self.handle, unicorn.x86_const.UC_X86_REG_MSR, ctypes.byref(msr))

    # --- hooks ------------------------------------------------------------------------

    def on_exit(self, react: Callable[[int], None]) -> None:
        """`react(number)` at each interrupt, exception or #VMEXIT."""

        def hook(_uc: int, number: int, _data: int) -> None:
            try:
                react(number)
            except BaseException as error:
                self._fail(error)

        self._add(unicorn.unicorn_const.UC_HOOK_INTR, _INTERRUPT_HOOK(hook))

    def on_block(self, callback: int, data: int) -> None:
        """Call machine code at `callback` when a block begins; its last argument is `data`."""
        self._add(unicorn.unicorn_const.UC_HOOK_BLOCK, ctypes.c_void_p(callback), data=data)

    def on_in(self, react: Callable[[int, int], None]) -> None:
        """`react(port, size)` before an IN or INS takes effect."""

        def hook(_uc: int, port: int, size: int, _data: int) -> int:
            try:
                react(port, size)
            except BaseException as error:
                self._fail(error)
            return 0

        self._add(
            unicorn.unicorn_const.UC_HOOK_INSN, _IN_HOOK(hook), unicorn.x86_const.UC_X86_INS_IN
        )

    def on_out(self, react: Callable[[int, int], None]) -> None:
        """`react(port, size)` before an OUT or OUTS takes effect."""

        def hook(_uc: int, port: int, size: int, _value: int, _data: int) -> None:
            try:
                react(port, size)
            except BaseException as error:
                self._fail(error)

        self._add(
            unicorn.unicorn_const.UC_HOOK_INSN, _OUT_HOOK(hook), unicorn.x86_const.UC_X86_INS_OUT
        )

    def on_system_call(self, react: Callable[[], None]) -> None:
        """`react()` at SYSCALL, and at SYSENTER outside 64-bit mode."""

        def hook(_uc: int, _data: int) -> None:
            try:
                react()
            except BaseException as error:
                self._fail(error)

        for instruction in (
            unicorn.x86_const.UC_X86_INS_SYSCALL,
            unicorn.x86_const.UC_X86_INS_SYSENTER,
        ):
            self._add(unicorn.unicorn_const.UC_HOOK_INSN, _PLAIN_HOOK(hook), instruction)

    def on_code(self, address: int, react: Callable[[int], None]) -> int:
        """`react(address)` before each instruction at a linear address; a hook to remove.

        Code that is translated already does not call it.
        """

        def hook(_uc: int, at: int, _size: int, _data: int) -> None:
            try:
                react(at)
            except BaseException as error:
                self._fail(error)

        return self._add(
            unicorn.unicorn_const.UC_HOOK_CODE, _CODE_HOOK(hook), first=address, last=address
        )

    def on_every_instruction(self, callback: int) -> int:
        """Call machine code at `callback` before each instruction; a hook to remove."""
        return self._add(unicorn.unicorn_const.UC_HOOK_CODE, ctypes.c_void_p(callback))

    def on_write(self, first: int, last: int, react: Callable[[int, int], None]) -> int:
        """`react(address, size)` before each store that begins at [first, last]; a hook.

        Physical addresses, in bytes. All code calls it, whenever it was
        translated; the engine's own writes to page tables do not.
        """

        def hook(_uc: int, _kind: int, at: int, size: int, _value: int, _data: int) -> None:
            try:
                react(at, size)
            except BaseException as error:
                self._fail(error)

        return self._add(
            unicorn.unicorn_const.UC_HOOK_MEM_WRITE, _WRITE_HOOK(hook), first=first, last=last
        )

    def remove_hook(self, hook: int) -> None:
        """Never in a hook."""
        uclib.uc_hook_del(self.handle, ctypes.c_size_t(hook))
        del self._hooks[hook]

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        self.stop()

    def _add(
        self,
        kind: int,
        callback: Any,
        *instruction: int,
        first: int = 1,
        last: int = 0,
        data: int | None = None,
    ) -> int:
        """A hook for [first, last]; for everything by default."""
        hook = ctypes.c_size_t()
        self._check(
            uclib.uc_hook_add(
                self.handle,
                ctypes.byref(hook),
                kind,
                ctypes.cast(callback, ctypes.c_void_p),
                ctypes.c_void_p(data),
                ctypes.c_uint64(first),
                ctypes.c_uint64(last),
                *(ctypes.c_int(number) for number in instruction),
            ),
            "a hook",
        )
        self._hooks[hook.value] = callback  # Unicorn keeps no reference to it
        return hook.value

    def _check(self, error: int, what: str) -> None:
        if error:
            raise BackendError(f"unicorn refuses {what}: error {error}")

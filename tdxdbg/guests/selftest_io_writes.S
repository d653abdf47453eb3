# selftest_io_writes: OUT of 1, 2 and 4 bytes, and of 5.
#
# After KVM's TDX selftest of the same purpose. Of R15 userspace sees as many bytes
# as the size says: the guest sets all 64 bits each time.
#
# Ends: 0 to the debug-exit port; 1 when a good one was refused or the bad one was
# not.

    .include "td.inc"

    .set TEST_PORT, 0x51

.macro WRITE size, value
    mov $\size, %r12d
    mov $OUT, %r13d
    mov $TEST_PORT, %r14d
    mov $\value, %r15
    TDVMCALL IO
    PRINT_HEX %r10
    PRINT "\n"
.endm

START
    WRITE 1, 0xffffffffffffffab
    test %r10, %r10
    jnz 1f
    WRITE 2, 0xffffffffffffabcd
    test %r10, %r10
    jnz 1f
    WRITE 4, 0xffffffffffabcdef
    test %r10, %r10
    jnz 1f
    WRITE 5, 0
    test %r10, %r10
    jz 1f
    EXIT 0
1:  EXIT 1

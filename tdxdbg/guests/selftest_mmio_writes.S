# selftest_mmio_writes: #VE.RequestMMIO writes of 1, 2, 4 and 8 bytes, and of 10.
#
# After KVM's TDX selftest of the same purpose.
#
# Ends: 0 to the debug-exit port; 1 when a good one was refused or the bad one was
# not.

    .include "td.inc"

.macro WRITE size, value
    mov $\size, %r12d
    mov $OUT, %r13d
    mov %rbx, %r14
    mov $\value, %r15
    TDVMCALL MMIO
    PRINT_HEX %r10
    PRINT "\n"
.endm

START
    mov shared_bit(%rip), %rbx
    mov $NOTHING_THERE, %eax
    or %rax, %rbx
    WRITE 1, 0x12
    test %r10, %r10
    jnz 1f
    WRITE 2, 0x1234
    test %r10, %r10
    jnz 1f
    WRITE 4, 0x12345678
    test %r10, %r10
    jnz 1f
    WRITE 8, 0x1234567890abcdef
    test %r10, %r10
    jnz 1f
    WRITE 10, 0
    test %r10, %r10
    jz 1f
    EXIT 0
1:  EXIT 1

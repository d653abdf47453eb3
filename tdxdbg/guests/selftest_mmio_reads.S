# selftest_mmio_reads: #VE.RequestMMIO reads of 1, 2, 4 and 8 bytes, and of 10.
#
# After KVM's TDX selftest of the same purpose: userspace has to answer 0x12,
# 0x1234, 0x12345678 and 0x1234567890abcdef. An address with nothing behind it does
# not.
#
# Ends: 0 to the debug-exit port; 1 when a value was not the expected one.

    .include "td.inc"

.macro READ size
    mov $\size, %r12d
    mov $IN, %r13d
    mov %rbx, %r14
    xor %r15d, %r15d
    TDVMCALL MMIO
.endm

.macro EXPECT size, value
    READ \size
    PRINT "read "
    PRINT_HEX %r11
    PRINT "\n"
    mov $\value, %rcx
    cmp %rcx, %r11
    jne wrong
.endm

START
    mov shared_bit(%rip), %rbx
    mov $NOTHING_THERE, %eax
    or %rax, %rbx
    EXPECT 1, 0x12
    EXPECT 2, 0x1234
    EXPECT 4, 0x12345678
    EXPECT 8, 0x1234567890abcdef
    READ 10
    PRINT "10 bytes: "
    PRINT_HEX %r10
    PRINT "\n"
    EXIT 0
wrong:
    EXIT 1

# selftest_msr_writes: Instruction.WRMSR that is done and that is not.
#
# After KVM's TDX selftest of the same purpose: the initial count of the local
# APIC's timer (0x838, read back), APIC_BASE, which a TD may only read, one that
# does not exist.
#
# Ends: 0 to the debug-exit port.

    .include "td.inc"

.macro WRITE index, value
    mov $\index, %r12d
    mov $\value, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    TDVMCALL WRMSR
    PRINT_HEX %r10
    PRINT "\n"
.endm

START
    WRITE 0x838, 0x123
    mov $0x838, %r12d
    xor %r13d, %r13d
    TDVMCALL RDMSR
    PRINT_HEX %r10
    PRINT " "
    PRINT_HEX %r11
    PRINT "\n"
    WRITE 0x1b, 0xfee00900
    WRITE 0x4711, 1
    EXIT 0

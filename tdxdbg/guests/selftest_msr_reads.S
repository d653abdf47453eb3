# selftest_msr_reads: Instruction.RDMSR of MSRs that KVM has and that it has not.
#
# After KVM's TDX selftest of the same purpose: APIC_BASE (0x1b), the x2APIC's
# version (0x803), one that does not exist.
#
# Ends: 0 to the debug-exit port.

    .include "td.inc"

.macro READ index
    mov $\index, %r12d
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    TDVMCALL RDMSR
    PRINT_HEX %r10
    PRINT " "
    PRINT_HEX %r11
    PRINT "\n"
.endm

START
    READ 0x1b
    READ 0x803
    READ 0x4711
    EXIT 0

# selftest_vmcall_info: what GetTdVmCallInfo says of the host's calls.
#
# After KVM's TDX selftest of the same purpose: leaf 0 is about the calls that every
# host has, so that R10 to R14 are 0. Leaf 1 lists optional ones in R11 and R12
# (6.16 and later: userspace answers), leaf 2 does not exist.
#
# Ends: 0 to the debug-exit port; 1 when leaf 0 was not all zero.

    .include "td.inc"

# Results that nobody wrote would be seen.
.macro INFO leaf
    mov $\leaf, %r12d
    mov $0x13, %r13d
    mov $0x14, %r14d
    xor %r15d, %r15d
    TDVMCALL GET_TD_VM_CALL_INFO
    call say
.endm

START
    INFO 0
    or %r11, %r10
    or %r12, %r10
    or %r13, %r10
    or %r14, %r10
    mov %r10, %rbx
    INFO 1
    INFO 2
    test %rbx, %rbx
    jnz 1f
    EXIT 0
1:  EXIT 1

say:
    PRINT_HEX %r10
    PRINT " "
    PRINT_HEX %r11
    PRINT " "
    PRINT_HEX %r12
    PRINT " "
    PRINT_HEX %r13
    PRINT " "
    PRINT_HEX %r14
    PRINT "\n"
    ret

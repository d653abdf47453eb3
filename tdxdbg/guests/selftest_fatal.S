# selftest_fatal: a fatal error with a code and no text.
#
# After KVM's TDX selftest of the same purpose: R12 is 0x0BAAAAAD00000000, an
# extended code of the TD, with the code proper 0. Only R10 to R15 are shown to the
# host, so that all of the text reads as zeroes.
#
# Ends: fatal error.

    .include "td.inc"

START
    mov $0x0baaaaad00000000, %r12
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
panic:
    TDVMCALL REPORT_FATAL_ERROR
    jmp panic

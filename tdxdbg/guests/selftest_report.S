# selftest_report: TDG.VP.INFO and TDG.MR.REPORT, and what the report says.
#
# After KVM's TDX selftests of the same purpose: the width of a GPA, the attributes
# and the vCPUs; then a TDREPORT, whose type, REPORTDATA and attributes are compared
# with what they have to be. Nothing of that reaches the host.
#
# Ends: 0 to the debug-exit port; 1 when the report is not what it should be.

    .include "td.inc"

    .set REPORT_DATA, 128
    .set ATTRIBUTES, 512

START
    TDG TDG_VP_INFO
    PRINT "GPAW "
    PRINT_DEC %rcx
    PRINT ", attributes "
    PRINT_HEX %rdx
    PRINT ", vCPUs "
    mov %r8d, %r8d
    PRINT_DEC %r8
    PRINT ", this is "
    PRINT_DEC %r9
    PRINT "\n"
    mov %rdx, %rbx
    lea report(%rip), %rcx
    lea report_data(%rip), %rdx
    xor %r8d, %r8d
    TDG TDG_MR_REPORT
    PRINT "report: "
    PRINT_HEX %rax
    PRINT "\n"
    lea report(%rip), %rsi
    cmpl $0x81, (%rsi)
    jne 1f
    cmp %rbx, ATTRIBUTES(%rsi)
    jne 1f
    lea report_data(%rip), %rdi
    add $REPORT_DATA, %rsi
    mov $64, %ecx
    repe cmpsb
    jne 1f
    EXIT 0
1:  EXIT 1

    .section .rodata
    .balign 64
report_data:
    .rept 64
    .byte 0x5a
    .endr

    .bss
    .balign 1024
report:
    .skip 1024

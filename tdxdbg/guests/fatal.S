# fatal: gives up as Linux's tdx_panic does.
#
# Says on the serial port what it is about to do, then calls
# TDG.VP.VMCALL<ReportFatalError> with code 0 (panic), no page (R12 bit 63 is
# clear, R13 is 0) and 48 bytes of text in R14, R15, RBX, RDI, RSI, R8, R9, RDX: the
# words with which Linux ends when SEPT #VE was not disabled.
#
# Ends: fatal error. A host that enters again gets the same call again, for ever.

    .include "td.inc"

START
    PRINT "tdx: TD misconfiguration found, giving up\n"
    lea message(%rip), %rax
    xor %r12d, %r12d
    xor %r13d, %r13d
    mov 0(%rax), %r14
    mov 8(%rax), %r15
    mov 16(%rax), %rbx
    mov 24(%rax), %rdi
    mov 32(%rax), %rsi
    mov 40(%rax), %r8
    mov 48(%rax), %r9
    mov 56(%rax), %rdx
panic:
    TDVMCALL REPORT_FATAL_ERROR, AS_LINUX
    jmp panic

    .section .rodata
message:
    .ascii "TD misconfiguration: SEPT #VE has to be disabled"
    .balign 64, 0
    .quad 0

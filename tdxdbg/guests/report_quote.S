# report_quote: from measurement to quote, and every way to ask wrongly.
#
# TDG.MR.REPORT writes a TDREPORT over 64 bytes of the guest's own; TDG.MR.RTMR.EXTEND
# changes a run-time measurement, which the next report shows. The host sees
# nothing of that. Then the guest registers a vector for the answer, if
# GetTdVmCallInfo says that it can, makes 16 KiB shared, puts the report there and
# asks for a quote: header {version 1, status 0, bytes in, bytes out}, then the
# report, as Linux's tsm driver does. It waits until the status is not "in flight".
# Last, requests that must be refused: a private buffer, no size, a bad alignment.
#
# Ends: 0 to the debug-exit port, whatever the quote's status is; 1 when the buffer
# could not be shared, 2 when a report is not what it should be. Before 6.16
# there is no GetQuote; the posted v1 gives the TD up when it touches the buffer.

    .include "td.inc"

    .set REPORT_DATA, 128           # in the report
    .set RTMR2, 816
    .set BUFFER_SIZE, 0x4000
    .set HEADER_STATUS, 8
    .set HEADER_IN_LEN, 16
    .set HEADER_OUT_LEN, 20
    .set HEADER_SIZE, 24
    .set REPORT_SIZE, 1024
    .set IN_FLIGHT, -1
    .set EVENT_NOTIFY, 1 << 1
    .set VECTOR, 0x50
    .set PATIENCE, 10000

.macro STATUS text:vararg
    PRINT \text
    PRINT_HEX %rax
    PRINT "\n"
.endm

.macro QUOTE gpa, size
    mov \gpa, %r12
    mov $\size, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    TDVMCALL GET_QUOTE
    PRINT_HEX %r10
    PRINT "\n"
.endm

START
    call idt_install
    sti
    call measure
    call quote
    EXIT 0

measure:
    call make_report
    STATUS "report: "
    lea report(%rip), %rsi
    cmpb $0x81, (%rsi)
    jne wrong
    mov report_data(%rip), %rax
    cmp REPORT_DATA(%rsi), %rax
    jne wrong
    PRINT "  RTMR 2 begins with "
    PRINT_HEX RTMR2(%rsi)
    PRINT "\n"
    lea digest(%rip), %rcx
    mov $2, %edx
    TDG TDG_MR_RTMR_EXTEND
    STATUS "extend: "
    call make_report
    STATUS "report: "
    mov report+RTMR2(%rip), %rax
    bswap %rax
    STATUS "  RTMR 2 begins with "
    lea digest(%rip), %rcx
    mov $4, %edx
    TDG TDG_MR_RTMR_EXTEND
    STATUS "extend RTMR 4: "
    lea digest+8(%rip), %rcx
    mov $2, %edx
    TDG TDG_MR_RTMR_EXTEND
    STATUS "extend by what is not aligned: "
    lea report(%rip), %rcx
    lea report_data(%rip), %rdx
    mov $1, %r8d
    TDG TDG_MR_REPORT
    STATUS "report of sub-type 1: "
    ret

make_report:
    lea report(%rip), %rcx
    lea report_data(%rip), %rdx
    xor %r8d, %r8d
    TDG TDG_MR_REPORT
    ret

wrong:
    PRINT "the report is wrong\n"
    EXIT 2

quote:
    call set_up_interrupt
    mov boot_info(%rip), %rax
    mov BOOT_NOT_ACCEPTED(%rax), %rbx
    mov %rbx, %r12
    or shared_bit(%rip), %r12
    mov $BUFFER_SIZE, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    TDVMCALL MAP_GPA
    test %r10, %r10
    jnz no_buffer
    call fill_buffer
    PRINT "quote: "
    mov %rbx, %rdi
    or shared_bit(%rip), %rdi
    QUOTE %rdi, BUFFER_SIZE
    test %r10, %r10
    jnz 2f
    mov $PATIENCE, %ecx
1:  cmpq $IN_FLIGHT, HEADER_STATUS(%rbp)
    jne 2f
    pause
    dec %ecx
    jnz 1b
2:  PRINT "  status "
    PRINT_HEX HEADER_STATUS(%rbp)
    PRINT ", bytes "
    mov HEADER_OUT_LEN(%rbp), %eax
    PRINT_DEC %rax
    PRINT ", interrupts "
    mov interrupts(%rip), %eax
    PRINT_DEC %rax
    PRINT "\n"

    PRINT "quote, private buffer: "
    QUOTE %rbx, BUFFER_SIZE
    PRINT "quote, no size: "
    QUOTE %rdi, 0
    PRINT "quote, not aligned: "
    lea 8(%rdi), %rsi
    QUOTE %rsi, BUFFER_SIZE
    PRINT "quote, version 2: "
    movq $2, (%rbp)
    QUOTE %rdi, BUFFER_SIZE
    ret

no_buffer:
    STATUS "no buffer: "
    EXIT 1

# RBP becomes the buffer's address, through the shared bit.
fill_buffer:
    mov $SHARED_WINDOW, %rbp
    add %rbx, %rbp
    movq $1, (%rbp)
    movq $0, HEADER_STATUS(%rbp)
    movl $REPORT_SIZE, HEADER_IN_LEN(%rbp)
    movl $0, HEADER_OUT_LEN(%rbp)
    lea report(%rip), %rsi
    lea HEADER_SIZE(%rbp), %rdi
    mov $REPORT_SIZE, %ecx
    rep movsb
    ret

set_up_interrupt:
    mov $1, %r12d
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    TDVMCALL GET_TD_VM_CALL_INFO
    PRINT "GetTdVmCallInfo 1: "
    PRINT_HEX %r10
    PRINT ", R11 "
    PRINT_HEX %r11
    PRINT "\n"
    test %r10, %r10
    jnz 1f
    test $EVENT_NOTIFY, %r11d
    jz 1f
    mov $VECTOR, %r12d
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    TDVMCALL SETUP_EVENT_NOTIFY_INTERRUPT
    PRINT "SetupEventNotifyInterrupt: "
    PRINT_HEX %r10
    PRINT "\n"
1:  ret

    .section .rodata
    .balign 64
report_data:
    .ascii "64 bytes that the one who asks for the quote chose, as a nonce. "
    .balign 64
digest:
    .ascii "forty-eight bytes, as if they were a SHA-384 sum"

    .bss
    .balign 1024
report:
    .skip REPORT_SIZE

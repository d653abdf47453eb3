# vendor_map_gpa_range: the conversion as a hypercall of KVM, not of the GHCI.
#
# R10 that is not 0 makes TDG.VP.VMCALL a call of the vendor: for KVM its number,
# with the arguments in R11 to R14. KVM_HC_MAP_GPA_RANGE (12) takes a GPA, a number
# of pages and attributes. Unlike MapGPA it reaches userspace in one piece, 2048
# pages here, and whatever userspace writes into hypercall.ret is the guest's R10.
# Then calls that KVM answers by itself: an address that is not page aligned, no
# pages, a call that does nothing, one that does not exist.
#
# Ends: 0 to the debug-exit port; 1 when the conversion was refused.

    .include "td.inc"

    .set HC_VAPIC_POLL_IRQ, 1
    .set HC_MAP_GPA_RANGE, 12
    .set NO_SUCH_CALL, 99
    .set ENCRYPTED, 0x10
    .set PAGES, 2048

# R10 the call, R11 to R14 its arguments. Changes RAX and RCX.
.macro HYPERCALL number, gpa, pages, attributes
    mov $\number, %r10d
    mov \gpa, %r11
    mov $\pages, %r12d
    mov $\attributes, %r13d
    xor %r14d, %r14d
    mov $R10_TO_R15, %ecx
    xor %eax, %eax
    tdcall
.endm

START
    mov boot_info(%rip), %rax
    mov BOOT_NOT_ACCEPTED(%rax), %rbx
    xor %r15d, %r15d

    PRINT "a call that does nothing: "
    HYPERCALL HC_VAPIC_POLL_IRQ, %rbx, 0, 0
    call say
    PRINT "one that does not exist: "
    HYPERCALL NO_SUCH_CALL, %rbx, 0, 0
    call say
    PRINT "not page aligned: "
    lea 1(%rbx), %rsi
    HYPERCALL HC_MAP_GPA_RANGE, %rsi, 1, 0
    call say
    PRINT "no pages: "
    HYPERCALL HC_MAP_GPA_RANGE, %rbx, 0, 0
    call say
    PRINT "2048 pages to shared: "
    HYPERCALL HC_MAP_GPA_RANGE, %rbx, PAGES, 0
    call say
    test %r10, %r10
    jnz refused
    PRINT "and to private: "
    HYPERCALL HC_MAP_GPA_RANGE, %rbx, PAGES, ENCRYPTED
    call say
    test %r10, %r10
    jnz refused
    EXIT 0

refused:
    EXIT 1

say:
    PRINT_HEX %r10
    PRINT "\n"
    ret

# accept_walk: TDG.MEM.PAGE.ACCEPT, each of its answers once.
#
# The host sees none of these TDCALLs: only those that find no page to accept
# become an EPT violation, with the extended qualification ACCEPT, that KVM
# resolves by mapping one. KVM maps 4 KiB pages, so 2 MiB at once is a size
# mismatch, and the guest falls back to 4 KiB pages, as Linux does.
#
# Ends: the last page is one where no memory is. KVM asks userspace to make it
# private, which userspace cannot do.

    .include "td.inc"

    .set LEVEL_2M, 1
    .set LEVEL_1G, 2

# Accept what RCX says, and say what came of it.
.macro ACCEPT text:vararg
    TDG TDG_MEM_PAGE_ACCEPT
    PRINT \text
    call say
.endm

START
    mov boot_info(%rip), %rax
    mov BOOT_NOT_ACCEPTED(%rax), %rbx

    lea LEVEL_1G(%rbx), %rcx
    ACCEPT "1 GiB"
    lea PAGE + LEVEL_2M(%rbx), %rcx
    ACCEPT "2 MiB, not aligned"
    mov %rbx, %rcx
    or shared_bit(%rip), %rcx
    ACCEPT "a shared page"
    lea LEVEL_2M(%rbx), %rcx
    ACCEPT "2 MiB"
    mov %rbx, %rcx
    ACCEPT "its first 4 KiB"
    lea PAGE(%rbx), %rcx
    ACCEPT "the next 4 KiB"
    mov %rbx, %rcx
    ACCEPT "the first again"
    mov $0x100000, %ecx
    ACCEPT "this code"
    mov $LEVEL_2M, %ecx
    ACCEPT "all that was there at the start"
    movq $1, (%rbx)
    PRINT "what was accepted can be written\n"
    mov $NOTHING_THERE, %ecx
    ACCEPT "where there is no memory"
    EXIT 1

# RAX the status.
say:
    PRINT ": "
    PRINT_HEX %rax
    PRINT "\n"
    ret

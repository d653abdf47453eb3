# selftest_shared_mem: a page through which guest and host talk.
#
# After KVM's TDX selftest of the same purpose: the guest makes a page shared, writes
# a word there and tells the host by writing to port 0x53. Whoever holds that exit
# can read the word in the guest's memory, and write another one; the guest says
# what it finds.
#
# Ends: 0 to the debug-exit port; 1 when the page could not be shared. The posted v1
# gives the TD up when it touches the page.

    .include "td.inc"

    .set TEST_PORT, 0x53
    .set WORD, 0xcafecafe

START
    mov boot_info(%rip), %rax
    mov BOOT_NOT_ACCEPTED(%rax), %rbx
    mov %rbx, %r12
    or shared_bit(%rip), %r12
    mov $PAGE, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    TDVMCALL MAP_GPA
    test %r10, %r10
    jnz 1f
    mov $SHARED_WINDOW, %rbp
    add %rbx, %rbp
    mov $WORD, %eax
    mov %rax, (%rbp)
    PORT_OUT TEST_PORT, 1, $1
    PRINT "the page holds "
    PRINT_HEX (%rbp)
    PRINT "\n"
    EXIT 0
1:  EXIT 1

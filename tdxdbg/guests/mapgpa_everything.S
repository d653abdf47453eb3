# mapgpa_everything: one call, almost 2^47 bytes (2^51 with a GPAW of 52).
#
# All shared GPAs above the RAM at once: KVM accepts that, and comes to userspace for
# every 2 MiB, 67 million times. Between two chunks it looks for events, so an
# interrupt stops it with RETRY, and the guest asks for the rest.
#
# Ends: never. Whoever runs it needs a limit, or a finger on the interrupt key.

    .include "td.inc"

START
    call idt_install
    sti
    mov boot_info(%rip), %rax
    mov BOOT_RAM_BYTES(%rax), %r12
    or shared_bit(%rip), %r12
1:  mov shared_bit(%rip), %r13
    add %r13, %r13
    sub %r12, %r13                  # up to the end of the shared half
    xor %r14d, %r14d
    xor %r15d, %r15d
    TDVMCALL MAP_GPA
    cmp $RETRY, %r10
    jne 2f
    mov %r11, %r12
    jmp 1b
2:  PRINT "the end, R10="
    PRINT_HEX %r10
    PRINT "\n"
    EXIT 0

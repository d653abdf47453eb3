# mapgpa_retry: converts 8 MiB to shared and back by Linux's rules.
#
# tdx_map_gpa() of arch/x86/coco/tdx/tdx.c asks for the whole range at once. KVM
# hands it to userspace 2 MiB at a time, and may stop in between: an interrupt is
# pending, or (7.2 and later) userspace answers a chunk with EAGAIN. Then R10 is
# RETRY and R11 the address to go on from. The guest's rules, all of them here:
#   * R11 below the start or not below the end is a failure;
#   * R11 equal to the start is a retry without progress, at most three in a row;
#   * otherwise the start becomes R11, and the count starts again;
#   * anything but RETRY ends it, and only SUCCESS is a success.
# Then a word is written to each of the four chunks, through the shared bit, and
# read back; everything becomes private again; and the first 2 MiB are accepted,
# as one page of 2 MiB or, where that is not how they are mapped, as 512 of 4 KiB.
#
# Interrupts are on, and every vector has a handler that counts it: a host can
# raise one in the middle of a conversion.
#
# Ends: 0 to the debug-exit port; 1 when a conversion failed, 2 when memory was
# not what it should be.

    .include "td.inc"

    .set CHUNKS, 4
    .set RANGE, CHUNKS * LARGE_PAGE
    .set MAX_RETRIES_PER_PAGE, 3
    .set PAGE_SIZE_MISMATCH, 0xc0000b0b             # upper half of the status
    .set LEVEL_2M, 1
    .set WORD, 0x7478642d64627967

START
    call idt_install
    sti
    mov boot_info(%rip), %rax
    mov BOOT_NOT_ACCEPTED(%rax), %rbx               # 2 MiB aligned; RBX from here on
    PRINT "shared bit "
    PRINT_HEX shared_bit(%rip)
    PRINT "\n"

    PRINT "to shared:\n"
    mov %rbx, %rdi
    or shared_bit(%rip), %rdi
    lea RANGE(%rdi), %rsi
    call map_gpa
    test %eax, %eax
    jz failed
    call touch_shared

    PRINT "to private:\n"
    mov %rbx, %rdi
    lea RANGE(%rdi), %rsi
    call map_gpa
    test %eax, %eax
    jz failed
    call accept_first_chunk
    PRINT "done, interrupts seen: "
    mov interrupts(%rip), %eax
    PRINT_DEC %rax
    PRINT "\n"
    EXIT 0

failed:
    PRINT "  refused, R10="
    PRINT_HEX %r10
    PRINT " R11="
    PRINT_HEX %r11
    PRINT "\n"
    EXIT 1

# RDI start, RSI end. EAX: 1 done, 0 failed (R10, R11 as they came).
map_gpa:
    xor %ebp, %ebp                                  # retries without progress
1:  cmp $MAX_RETRIES_PER_PAGE, %ebp
    jae 4f
    PRINT "  MapGPA "
    PRINT_HEX %rdi
    PRINT "\n"
    mov %rdi, %r12
    mov %rsi, %r13
    sub %rdi, %r13
    xor %r14d, %r14d
    xor %r15d, %r15d
    TDVMCALL MAP_GPA
    cmp $RETRY, %r10
    jne 3f
    PRINT "  RETRY, R11="
    PRINT_HEX %r11
    PRINT "\n"
    cmp %rdi, %r11
    jb 4f
    cmp %rsi, %r11
    jae 4f
    cmp %rdi, %r11
    je 2f
    mov %r11, %rdi
    xor %ebp, %ebp
    jmp 1b
2:  inc %ebp
    jmp 1b
3:  test %r10, %r10
    jnz 4f
    mov $1, %eax
    ret
4:  xor %eax, %eax
    ret

# The host has mapped nothing yet: each chunk costs an EPT violation that KVM
# resolves by itself.
touch_shared:
    mov $WORD, %rdx
    xor %ecx, %ecx
1:  mov %rcx, %rdi
    shl $21, %rdi
    mov $SHARED_WINDOW, %rax
    add %rax, %rdi
    add %rbx, %rdi
    mov %rdx, (%rdi)
    cmp %rdx, (%rdi)
    jne 2f
    inc %ecx
    cmp $CHUNKS, %ecx
    jb 1b
    PRINT "  every chunk can be written\n"
    ret
2:  EXIT 2

accept_first_chunk:
    lea LEVEL_2M(%rbx), %rcx
    TDG TDG_MEM_PAGE_ACCEPT
    test %rax, %rax
    jz 3f
    shr $32, %rax
    mov $PAGE_SIZE_MISMATCH, %ecx
    cmp %rcx, %rax
    jne 4f
    PRINT "  2 MiB are mapped as 4 KiB pages: accepting these\n"
    mov %rbx, %rsi
    lea LARGE_PAGE(%rbx), %rdi
2:  mov %rsi, %rcx
    TDG TDG_MEM_PAGE_ACCEPT
    test %rax, %rax
    jnz 4f
    add $PAGE, %rsi
    cmp %rdi, %rsi
    jb 2b
3:  cmpq $0, (%rbx)                                 # what was shared is gone
    jne 4f
    PRINT "  accepted, and full of zeroes\n"
    ret
4:  EXIT 2

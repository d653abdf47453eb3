# mapgpa_naive: takes RETRY for done, as firmware did before 2023.
#
# The same conversions as mapgpa_retry, but whatever R10 is, unless it is an
# error (bit 63), the guest goes on as if the whole range were converted. While
# the host converts all of it at once, nobody notices. When it stops half way, the
# guest touches pages that are still of the other kind: an EPT violation that KVM
# cannot resolve, KVM_EXIT_MEMORY_FAULT, and userspace may convert that page after
# all (an implicit conversion), page by page.
#
# Ends: 0 to the debug-exit port; 1 when a conversion was refused, 2 when memory
# was not what it should be.

    .include "td.inc"

    .set CHUNKS, 4
    .set RANGE, CHUNKS * LARGE_PAGE

START
    mov boot_info(%rip), %rax
    mov BOOT_NOT_ACCEPTED(%rax), %rbx

    PRINT "to shared\n"
    mov %rbx, %r12
    or shared_bit(%rip), %r12
    call map_gpa
    xor %ebp, %ebp
1:  call address
    mov $SHARED_WINDOW, %rax
    add %rax, %rdi
    movq $0x55, (%rdi)
    cmpq $0x55, (%rdi)
    jne wrong
    inc %ebp
    cmp $CHUNKS, %ebp
    jb 1b

    PRINT "to private\n"
    mov %rbx, %r12
    call map_gpa
    xor %ebp, %ebp
2:  call address
    mov %rdi, %rcx
    TDG TDG_MEM_PAGE_ACCEPT
    test %rax, %rax
    jnz wrong
    cmpq $0, (%rdi)
    jne wrong
    inc %ebp
    cmp $CHUNKS, %ebp
    jb 2b
    PRINT "done\n"
    EXIT 0

# RDI: the start of chunk EBP.
address:
    mov %rbp, %rdi
    shl $21, %rdi
    add %rbx, %rdi
    ret

# R12 the start, with the shared bit or without.
map_gpa:
    mov $RANGE, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    TDVMCALL MAP_GPA
    test %r10, %r10
    js refused
    ret

refused:
    PRINT "refused, R10="
    PRINT_HEX %r10
    PRINT "\n"
    EXIT 1

wrong:
    PRINT "memory is not what it should be, status "
    PRINT_HEX %rax
    PRINT "\n"
    EXIT 2

# selftest_cpuid: CPUID as an instruction and as a call of the host.
#
# After KVM's TDX selftests of the same purpose. The module answers leaf 1 (the
# APIC id is the vCPU's number, bit 31 of ECX says that there is a hypervisor) and
# 0x21, which says that this is a TD; no exit. The host answers a call,
# Instruction.CPUID, of any leaf: here those of KVM, its name and its features.
#
# Ends: 0 to the debug-exit port; 1 when leaf 0x21 is not that of a TD.

    .include "td.inc"

.macro CALL_CPUID leaf
    mov $\leaf, %r12d
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    TDVMCALL CPUID
    PRINT_HEX %r10
    PRINT " "
    PRINT_HEX %r12
    PRINT " "
    PRINT_HEX %r13
    PRINT " "
    PRINT_HEX %r14
    PRINT " "
    PRINT_HEX %r15
    PRINT "\n"
.endm

START
    call idt_install
    mov $1, %eax
    xor %ecx, %ecx
    cpuid
    shr $24, %ebx
    shr $31, %ecx
    PRINT "APIC id "
    PRINT_DEC %rbx
    PRINT ", hypervisor "
    PRINT_DEC %rcx
    PRINT "\n"
    mov $0x21, %eax
    xor %ecx, %ecx
    cpuid
    mov %ebx, name(%rip)
    mov %edx, name+4(%rip)
    mov %ecx, name+8(%rip)
    lea name(%rip), %rdi
    call puts
    PRINT "\n"
    mov name(%rip), %rax
    cmp inteltdx(%rip), %rax
    jne 1f
    CALL_CPUID 0x40000000
    CALL_CPUID 0x40000001
    EXIT 0
1:  EXIT 1

    .section .rodata
inteltdx:
    .ascii "IntelTDX"

    .bss
name:
    .skip 13

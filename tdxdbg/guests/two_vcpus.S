# two_vcpus: an interrupt from one vCPU wakes the other; both count together.
#
# vCPU 1 halts (TDG.VP.VMCALL<HLT>, interrupts on). vCPU 0 sends it vector 0x40, by
# Instruction.WRMSR of the x2APIC's ICR, for in a TD an IPI is a call of the host.
# From then on each vCPU adds 1 a thousand times to one counter, with LOCK. vCPU 0
# waits for the other one and says what the counter is.
#
# The posted v1 has neither HLT nor MSR calls: there vCPU 1 spins, and a flag in
# memory wakes it.
#
# Ends: 0 to the debug-exit port; 1 when the counter is not 2000. vCPU 1 halts for
# ever.

    .include "td.inc"

    .set X2APIC_ICR, 0x830
    .set VECTOR, 0x40
    .set ROUNDS, 1000

START
    call idt_install
    test %rsi, %rsi
    jnz second

    PRINT "vCPU 0: waking vCPU 1\n"
1:  pause
    cmpl $0, ready(%rip)
    je 1b
    mov $X2APIC_ICR, %r12d
    mov $1, %r13d                   # the destination is APIC 1
    shl $32, %r13
    or $VECTOR, %r13
    xor %r14d, %r14d
    xor %r15d, %r15d
    TDVMCALL WRMSR
    test %r10, %r10
    jz 2f
    PRINT "vCPU 0: no IPI, R10="
    PRINT_HEX %r10
    PRINT "\n"
    movl $1, flag(%rip)
2:  call count
3:  pause
    cmpl $2, done(%rip)
    jne 3b
    PRINT "vCPU 0: the counter is "
    mov counter(%rip), %eax
    PRINT_DEC %rax
    PRINT "\n"
    cmp $2 * ROUNDS, %eax
    jne 4f
    EXIT 0
4:  EXIT 1

second:
    movl $1, ready(%rip)
1:  cli                             # nothing may come between the look and the HLT
    cmpl $0, interrupts(%rip)
    jne 2f
    cmpl $0, flag(%rip)
    jne 2f
    cmpl $0, no_hlt(%rip)
    jne 3f
    WAIT_FOR_INTERRUPT
    test %r10, %r10
    jz 1b
    movl $1, no_hlt(%rip)
3:  sti
    pause
    jmp 1b
2:  call count
    cli
4:  mov $1, %r12d
    TDVMCALL HLT
    pause
    jmp 4b

count:
    mov $ROUNDS, %ecx
1:  lock incl counter(%rip)
    dec %ecx
    jnz 1b
    lock incl done(%rip)
    ret

    .bss
    .balign 4
counter:
    .skip 4
done:
    .skip 4
ready:
    .skip 4
flag:
    .skip 4
no_hlt:
    .skip 4

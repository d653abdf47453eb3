# selftest_hlt: TDG.VP.VMCALL<HLT> with interrupts on, then with interrupts off.
#
# After KVM's TDX selftest of the same purpose. The first one (R12 = 0) ends when
# the timer of the local APIC fires; the second one (R12 = 1) never does. KVM_EXIT_HLT
# does not exist for a TD: KVM keeps the vCPU.
#
# Ends: halted for ever. The posted v1 has no HLT call: 1 to the debug-exit port.

    .include "td.inc"

    .set TSC_DEADLINE, 0x6e0
    .set LVT_TIMER, 0x832
    .set MODE_DEADLINE, 2 << 17
    .set VECTOR, 0x40
    .set SOON, 1000000              # TSC ticks

START
    call idt_install
    xor %r14d, %r14d
    xor %r15d, %r15d
    mov $LVT_TIMER, %r12d
    mov $MODE_DEADLINE | VECTOR, %r13d
    TDVMCALL WRMSR
    rdtsc
    shl $32, %rdx
    lea SOON(%rax,%rdx), %r13
    mov $TSC_DEADLINE, %r12d
    TDVMCALL WRMSR
    WAIT_FOR_INTERRUPT
    test %r10, %r10
    jnz 1f
    PRINT "awake, interrupts: "
    mov interrupts(%rip), %eax
    PRINT_DEC %rax
    PRINT "\n"
    mov $1, %r12d
    TDVMCALL HLT
    PRINT "awake again\n"
1:  EXIT 1

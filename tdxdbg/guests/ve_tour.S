# ve_tour: one of each instruction that a TD cannot do by itself.
#
# The guest uses plain CPUID, IN, OUT, RDMSR, WRMSR, HLT and MOV, as an operating
# system that knows nothing of TDX would. The module answers some of it on its
# own; for the rest it injects a #VE, and the handler (ve.S) asks the host. After
# each one the guest says what TDG.VP.VEINFO.GET told the handler.
#
#   CPUID 0             the module knows it: no #VE
#   CPUID 2             #VE, but Linux does not ask the host: zeroes
#   CPUID 0x40000000    #VE, the host says who it is
#   OUT, IN, REP OUTSB  #VE with a qualification: size, direction, string, port
#   RDMSR, WRMSR        #VE; APIC_BASE, the timer of the local APIC, an unknown one
#   HLT                 #VE; interrupts are on, and the timer ends it
#   MOV                 #VE 48 once KVM knows that there is a device, and a decoder
#
# Ends: 0 to the debug-exit port. The posted v1 has no CPUID, HLT and MSR calls,
# and gives the TD up at the EPT violation of the MOV.

    .include "td.inc"

    .set POST, 0x80
    .set APIC_BASE, 0x1b
    .set TSC_DEADLINE, 0x6e0
    .set LVT_TIMER, 0x832
    .set NO_SUCH_MSR, 0x4711
    .set MODE_DEADLINE, 2 << 17
    .set VECTOR, 0x40
    .set SOON, 1000000              # TSC ticks

.macro DONE text:vararg
    PRINT \text
    call say
.endm

START
    call idt_install

    xor %eax, %eax
    xor %ecx, %ecx
    cpuid
    DONE "CPUID 0"
    mov $2, %eax
    xor %ecx, %ecx
    cpuid
    DONE "CPUID 2"
    mov $0x40000000, %eax
    xor %ecx, %ecx
    cpuid
    mov %ebx, signature(%rip)
    mov %ecx, signature+4(%rip)
    mov %edx, signature+8(%rip)
    DONE "CPUID 0x40000000"
    PRINT "  the host is \""
    lea signature(%rip), %rdi
    call puts
    PRINT "\"\n"

    mov $0x12, %al
    out %al, $POST
    DONE "OUT of a byte"
    mov $COM1 + 5, %edx
    in %dx, %al
    DONE "IN of a byte"
    lea sentence(%rip), %rsi
    mov $COM1, %edx
    mov $sentence_size, %ecx
    rep outsb
    DONE "REP OUTSB"

    mov $APIC_BASE, %ecx
    rdmsr
    DONE "RDMSR 0x1b"
    mov $NO_SUCH_MSR, %ecx
    rdmsr
    DONE "RDMSR 0x4711"
    mov $LVT_TIMER, %ecx
    mov $MODE_DEADLINE | VECTOR, %eax
    xor %edx, %edx
    wrmsr
    DONE "WRMSR 0x832"

    rdtsc
    shl $32, %rdx
    or %rdx, %rax
    add $SOON, %rax
    mov %rax, %rdx
    shr $32, %rdx
    mov $TSC_DEADLINE, %ecx
    wrmsr
    sti
    hlt
    cli
    DONE "WRMSR 0x6e0, HLT"
    PRINT "  interrupts: "
    mov interrupts(%rip), %eax
    PRINT_DEC %rax
    PRINT "\n"

    mov $SHARED_WINDOW + VIRTIO_MMIO, %rbx
    mov (%rbx), %esi
    DONE "MOV from a device"
    PRINT "  its first register is "
    PRINT_HEX %rsi
    PRINT "\n"
    movl $1, 0x70(%rbx)
    DONE "MOV to a device"
    movzbl 0x70(%rbx), %esi
    DONE "MOVZX of a byte"
    EXIT 0

# What the handler saw since the last time.
say:
    mov ve_count(%rip), %eax
    cmp seen(%rip), %eax
    je 2f
    mov %eax, seen(%rip)
    PRINT ": #VE "
    mov ve_reason(%rip), %eax
    PRINT_DEC %rax
    PRINT ", qualification "
    PRINT_HEX ve_qualification(%rip)
    cmpl $48, ve_reason(%rip)
    je 1f
    PRINT ", length "
    mov ve_length(%rip), %eax
    PRINT_DEC %rax
    jmp 3f
1:  PRINT ", GPA "
    PRINT_HEX ve_gpa(%rip)
3:  mov ve_status(%rip), %rax
    test %rax, %rax
    jz 5f
    cmp $-1, %rax
    je 4f
    PRINT ", refused: "
    PRINT_HEX %rax
    jmp 5f
4:  PRINT ", the host is not asked"
5:  PRINT "\n"
    ret
2:  PRINT ": no #VE\n"
    ret

    .section .rodata
sentence:
    .ascii "(a sentence, byte by byte)\n"
    .set sentence_size, . - sentence

    .bss
seen:
    .skip 4
signature:
    .skip 13

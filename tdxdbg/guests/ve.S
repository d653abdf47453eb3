# ve.S: a #VE handler in the manner of Linux's. It differs in two things: string I/O
# is done element by element, and a HLT with interrupts on is passed on, where Linux
# refuses both.
#
# The TDX module injects a #VE for what it cannot do by itself and will not let
# the host do behind the guest's back. The handler asks the module what it was
# (TDG.VP.VEINFO.GET), asks the host to do it (TDG.VP.VMCALL), puts the result
# into the guest's registers and steps over the instruction. Only the EPT
# violation comes without an instruction length: MMIO has to be decoded.
#
# What it saw stays in ve_*; ve_status is R10 of the last call (or -1: refused
# here). `ve_count` counts.

    .include "td.inc"

    .set REASON_CPUID, 10
    .set REASON_HLT, 12
    .set REASON_IO, 30
    .set REASON_RDMSR, 31
    .set REASON_WRMSR, 32
    .set REASON_EPT_VIOLATION, 48

    .set QUALIFICATION_IN, 1 << 3
    .set QUALIFICATION_STRING, 1 << 4
    .set QUALIFICATION_REP, 1 << 5
    .set FLAGS_IF, 1 << 9
    .set FLAGS_DF, 1 << 10

# RDI the frame. RBX is the frame from here on, RBP the length of the instruction.
    .section .text.ve_handler, "ax"
    .globl ve_handler
ve_handler:
    mov %rdi, %rbx
    TDG TDG_VP_VEINFO_GET
    mov %ecx, ve_reason(%rip)
    mov %rdx, ve_qualification(%rip)
    mov %r8, ve_gla(%rip)
    mov %r9, ve_gpa(%rip)
    mov %r10d, ve_length(%rip)
    mov %r10d, %ebp
    incl ve_count(%rip)
    cmp $REASON_EPT_VIOLATION, %ecx
    je on_mmio
    call instruction
    add %rbp, FRAME_RIP(%rbx)
    ret

instruction:
    cmp $REASON_CPUID, %ecx
    je on_cpuid
    cmp $REASON_HLT, %ecx
    je on_hlt
    cmp $REASON_IO, %ecx
    je on_io
    cmp $REASON_RDMSR, %ecx
    je on_rdmsr
    cmp $REASON_WRMSR, %ecx
    je on_wrmsr
# Nothing that a host can do: WBINVD, MONITOR, VMCALL and the like are skipped.
    movq $-1, ve_status(%rip)
    ret

# Only the leaves of the hypervisor are the host's business; Linux answers zeroes
# for all others, so that the host cannot lie about the CPU.
on_cpuid:
    mov FRAME_RAX(%rbx), %r12d
    mov FRAME_RCX(%rbx), %r13d
    movq $-1, ve_status(%rip)
    xor %r14d, %r14d
    xor %r15d, %r15d
    mov %r12d, %eax
    shr $28, %eax
    cmp $4, %eax
    jne 1f
    TDVMCALL CPUID
    mov %r10, ve_status(%rip)
    test %r10, %r10
    jz 2f
1:  xor %r12d, %r12d
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
2:  mov %r12, FRAME_RAX(%rbx)
    mov %r13, 24(%rbx)
    mov %r14, FRAME_RCX(%rbx)
    mov %r15, FRAME_RDX(%rbx)
    ret

# R12: 1 when no interrupt can end it.
on_hlt:
    xor %r12d, %r12d
    testl $FLAGS_IF, FRAME_FLAGS(%rbx)
    setz %r12b
    TDVMCALL HLT
    mov %r10, ve_status(%rip)
    ret

on_rdmsr:
    mov FRAME_RCX(%rbx), %r12d
    TDVMCALL RDMSR
    mov %r10, ve_status(%rip)
    test %r10, %r10
    jz 1f
    xor %r11d, %r11d
1:  mov %r11d, %eax
    shr $32, %r11
    mov %rax, FRAME_RAX(%rbx)
    mov %r11, FRAME_RDX(%rbx)
    ret

on_wrmsr:
    mov FRAME_RCX(%rbx), %r12d
    mov FRAME_RAX(%rbx), %r13d
    mov FRAME_RDX(%rbx), %eax
    shl $32, %rax
    or %rax, %r13
    TDVMCALL WRMSR
    mov %r10, ve_status(%rip)
    ret

# --- port I/O -------------------------------------------------------------------------

on_io:
    mov %edx, %r8d                  # the qualification
    mov %edx, %r9d
    shr $16, %r9d                   # the port
    and $7, %edx
    inc %edx
    mov %edx, %ebp                  # for now: the size
    test $QUALIFICATION_STRING, %r8d
    jnz on_string_io
    mov FRAME_RAX(%rbx), %rsi
    call one_io
    test $QUALIFICATION_IN, %r8d
    jz 2f
    cmp $4, %ebp
    jne 1f
    mov %rax, FRAME_RAX(%rbx)       # 32 bits clear the rest of RAX
    jmp 2f
1:  call keep_low_bytes
    mov %rax, FRAME_RAX(%rbx)
2:  mov ve_length(%rip), %ebp
    ret

# RAX = RAX in its low EBP bytes (1 or 2), the rest from RSI.
keep_low_bytes:
    mov $0xff, %ecx
    cmp $1, %ebp
    je 1f
    mov $0xffff, %ecx
1:  and %rcx, %rax
    not %rcx
    and %rcx, %rsi
    or %rsi, %rax
    ret

# The host knows no string form: one call for each element. A failure ends it, as
# do 4096 elements: RCX may be anything.
on_string_io:
    mov $1, %edi                    # without REP: once
    test $QUALIFICATION_REP, %r8d
    jz 1f
    mov FRAME_RCX(%rbx), %rdi
    cmp $4096, %rdi
    ja 5f
1:  test %rdi, %rdi
    jz 4f
    mov %rbp, %rdx
    testl $FLAGS_DF, FRAME_FLAGS(%rbx)
    jz 2f
    neg %rdx
2:  push %rdx
    test $QUALIFICATION_IN, %r8d
    jnz 3f
    mov FRAME_RSI(%rbx), %rax
    add %rdx, FRAME_RSI(%rbx)
    mov (%rax), %rsi
    call one_io
    jmp 6f
3:  call one_io
    mov FRAME_RDI(%rbx), %rcx
    call store
    pop %rdx
    push %rdx
    add %rdx, FRAME_RDI(%rbx)
6:  pop %rdx
    cmpq $0, ve_status(%rip)
    jne 4f
    dec %rdi
    jmp 1b
4:  test $QUALIFICATION_REP, %r8d
    jz 7f
    mov %rdi, FRAME_RCX(%rbx)
7:  mov ve_length(%rip), %ebp
    ret
5:  movq $-1, ve_status(%rip)
    jmp 7b

# (RCX) = the low EBP bytes of RAX.
store:
    cmp $1, %ebp
    je 1f
    cmp $2, %ebp
    je 2f
    mov %eax, (%rcx)
    ret
1:  mov %al, (%rcx)
    ret
2:  mov %ax, (%rcx)
    ret

# R9D port, EBP size, R8D qualification, RSI the value to write. RAX: what was
# read, all ones where the host refused. Changes RCX, R10 to R15.
one_io:
    mov %ebp, %r12d
    mov $IN, %r13d
    xor %r15d, %r15d
    test $QUALIFICATION_IN, %r8d
    jnz 1f
    mov $OUT, %r13d
    mov $64, %ecx
    mov %ebp, %eax
    shl $3, %eax
    sub %eax, %ecx
    mov %rsi, %r15
    shl %cl, %r15
    shr %cl, %r15                   # the host sees the value and nothing beside it
1:  mov %r9d, %r14d
    TDVMCALL IO
    mov %r10, ve_status(%rip)
    mov %r11, %rax
    test %r10, %r10
    jz 2f
    mov $0xffffffff, %eax
2:  ret

# --- MMIO -----------------------------------------------------------------------------

# MOV between a register or an immediate and memory, and MOVZX, with 1, 2, 4 or 8
# bytes; AH, CH, DH and BH are not decoded. The handler of a guest that shares
# nothing by accident never sees a private GPA here.
on_mmio:
    test %r9, shared_bit(%rip)
    jz refuse
    mov FRAME_RIP(%rbx), %rsi
    mov $4, %ebp                    # size of the access
    xor %r8d, %r8d                  # REX
1:  movzbl (%rsi), %eax
    inc %rsi
    cmp $0x66, %al
    jne 2f
    mov $2, %ebp
    jmp 1b
2:  mov %eax, %ecx
    and $0xf0, %ecx
    cmp $0x40, %ecx
    jne 3f
    mov %eax, %r8d
    test $8, %al                    # REX.W
    jz 1b
    mov $8, %ebp
    jmp 1b
3:  xor %edi, %edi                  # 1: to memory
    xor %edx, %edx                  # bytes of immediate
    xor %r10d, %r10d                # bytes that MOVZX reads
    cmp $0x8b, %al
    je 5f
    cmp $0x89, %al
    je 4f
    cmp $0xc7, %al
    je 6f
    cmp $0x0f, %al
    je 7f
    cmp $0x8a, %al
    je 8f
    cmp $0x88, %al
    je 9f
    cmp $0xc6, %al
    jne refuse
    mov $1, %ebp
6:  mov $1, %edi
    mov %ebp, %edx
    cmp $8, %edx
    jne 5f
    mov $4, %edx
    jmp 5f
9:  mov $1, %ebp
4:  mov $1, %edi
    jmp 5f
8:  mov $1, %ebp
    jmp 5f
7:  movzbl (%rsi), %eax
    inc %rsi
    mov $1, %r10d
    cmp $0xb6, %al
    je 5f
    mov $2, %r10d
    cmp $0xb7, %al
    jne refuse

# RSI is at ModRM. R11 becomes the register's number, RSI the end of the operand.
5:  movzbl (%rsi), %eax
    inc %rsi
    mov %eax, %r11d
    shr $3, %r11d
    and $7, %r11d
    test $4, %r8b                   # REX.R
    jz 1f
    or $8, %r11d
1:  mov %eax, %ecx
    and $7, %ecx
    shr $6, %eax                    # mod
    cmp $4, %ecx
    jne 2f
    movzbl (%rsi), %ecx             # SIB
    and $7, %ecx
    inc %rsi
2:  cmp $1, %eax
    je 3f
    cmp $2, %eax
    je 4f
    cmp $5, %ecx                    # without a base: a displacement of 32 bits
    jne 6f
4:  add $4, %rsi
    jmp 6f
3:  inc %rsi

6:  test %edi, %edi
    jz read
    mov (%rbx,%r11,8), %r15
    test %edx, %edx
    jz 7f
    movslq (%rsi), %r15             # sign-extended; what is too much is cut below
7:  add %rdx, %rsi
    mov %rsi, FRAME_RIP(%rbx)
    mov $64, %ecx
    mov %ebp, %eax
    shl $3, %eax
    sub %eax, %ecx
    shl %cl, %r15
    shr %cl, %r15
    mov %ebp, %r12d
    mov $OUT, %r13d
    mov %r9, %r14
    TDVMCALL MMIO
    mov %r10, ve_status(%rip)
    ret

read:
    mov %rsi, FRAME_RIP(%rbx)
    lea (%rbx,%r11,8), %rdi         # where the register is kept
    mov %r10d, %edx                 # MOVZX: clears the rest of the register
    mov %ebp, %r12d
    test %edx, %edx
    jz 1f
    mov %edx, %r12d
1:  mov $IN, %r13d
    mov %r9, %r14
    xor %r15d, %r15d
    TDVMCALL MMIO
    mov %r10, ve_status(%rip)
    mov %r11, %rax
    test %r10, %r10
    jz 2f
    mov $-1, %rax
2:  test %edx, %edx
    jnz 3f
    cmp $4, %ebp
    jb 4f
3:  mov %rax, (%rdi)
    ret
4:  mov (%rdi), %rsi
    call keep_low_bytes
    mov %rax, (%rdi)
    ret

# Linux panics here ("Unexpected EPT-violation on private memory").
refuse:
    movq $-1, ve_status(%rip)
    mov %rbx, %rdi
    mov FRAME_VECTOR(%rdi), %eax
    jmp on_fault

    .section .bss.ve, "aw", @nobits
    .balign 8
    .globl ve_count, ve_reason, ve_length, ve_qualification, ve_gla, ve_gpa, ve_status
ve_status:
    .skip 8
ve_qualification:
    .skip 8
ve_gla:
    .skip 8
ve_gpa:
    .skip 8
ve_reason:
    .skip 4
ve_length:
    .skip 4
ve_count:
    .skip 4

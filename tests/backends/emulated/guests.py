"""Small guests: GNU assembler, and what it makes of it.

`IMAGES` maps a name to the bytes that are not zero, as (offset, hex). A test
assembles `SOURCES` again where the assembler is there.
"""

from __future__ import annotations

from typing import Final

MACROS: Final = r"""
.macro tdvmcall fn
    mov $\fn, %r11d; xor %r10d, %r10d; mov $0xffcc, %ecx; xor %eax, %eax
    tdcall
.endm
.macro done
    tdvmcall 0x10003
.endm
.code64
.globl _start
_start:
"""

SOURCES: Final[dict[str, str]] = {
    "serial": r"""
    mov $3, %ebx
1:  mov $1, %r12d; mov $1, %r13d; mov $0x3f8, %r14d; mov $0x41, %r15d
    tdvmcall 30
    dec %ebx
    jnz 1b
    done
""",
    "spin": r"""
1: inc %rax; add %rax, %rbx; xor %rbx, (%rsp); jmp 1b
""",
    "storm": r"""
1: tdvmcall 0x1234; jmp 1b
""",
    "io": r"""
    mov $0x1122334455667788, %rax
    cmp %eax, %eax
    in $0x71, %al
    jnz fail
    mov $0x3f8, %edx
    mov $0x99, %al
    out %al, %dx
    out %eax, $0x80
    in %dx, %ax
    mov $0x200000, %esi
    mov $3, %ecx
    rep outsb
    mov $0x201000, %edi
    insl
    done
fail: ud2
    .org 0x1000 + 32*20
    jmp ve
    .org 0x1800
ve: push %rax; push %rcx; push %rdx; push %r8; push %r9; push %r10; push %r11
    mov $3, %eax
    tdcall
    mov %rdx, %r12
    mov %r10d, %r13d
    shr $32, %r10
    mov %r10, %r14
    mov 56(%rsp), %r15
    tdvmcall 0x2001
    mov %r13d, %r13d
    add %r13, 56(%rsp)
    pop %r11; pop %r10; pop %r9; pop %r8; pop %rdx; pop %rcx; pop %rax
    iretq
""",
    "flags": r"""
    stc
    mov $0x7fffffff, %eax
    inc %eax
    out %al, $0x80
    pushf
    pop %r12
    std
    cpuid
    pushf
    pop %r13
    cld
    tdvmcall 0x2001
    done
    .org 0x1000 + 32*20
    mov $3, %eax
    tdcall
    addq $2, (%rsp)
    iretq
""",
    "instructions": r"""
    mov $0x40000000, %eax
    cpuid
    hlt
    mov $0x1b, %ecx
    rdmsr
    wrmsr
    wbinvd
    invd
    .byte 0x0f, 0x01, 0xc1
    monitor
    mwait
    done
    .org 0x1000 + 32*20
    push %rax; push %rcx; push %rdx; push %r8; push %r9; push %r10; push %r11
    mov $3, %eax
    tdcall
    mov %rcx, %r12
    mov %r10d, %r13d
    tdvmcall 0x2002
    add %r13, 56(%rsp)
    pop %r11; pop %r10; pop %r9; pop %r8; pop %rdx; pop %rcx; pop %rax
    iretq
""",
    "exceptions": r"""
    xor %ecx, %ecx
    .balign 16
    div %ecx
    .balign 16
    ud2
    .balign 16
    int3
    .balign 16
    int $0x30
    .balign 16
    mov $0x80000000000, %rbx
    .balign 16
    mov %rbx, (%rbx)
    .balign 16
    mov $0x8000000000000000, %rbx
    .balign 16
    mov (%rbx), %rax
    .balign 16
    vmread %rax, %rbx
    .balign 16
    mov $0x48, %ecx
    .balign 16
    mov %ecx, %ds
    .balign 16
    .byte 0xf1
    .balign 16
    pushf
    orq $0x100, (%rsp)
    popf
    .balign 16
    nop
    .balign 16
    done
    .irp n, 0, 1, 3, 6, 8, 11, 12, 13, 14, 48
    .org 0x1000 + 32*\n
    .if \n != 8 && \n != 11 && \n != 12 && \n != 13 && \n != 14
    push $0x55
    .endif
    push $\n
    jmp common
    .endr
    .org 0x1800
common:
    mov (%rsp), %r12
    mov 8(%rsp), %r13
    mov 16(%rsp), %r14
    mov 32(%rsp), %r15
    mov %cr2, %rdx
    tdvmcall 0x2003
    andq $~0x100, 32(%rsp)
    orq $15, 16(%rsp)
    incq 16(%rsp)
    add $16, %rsp
    iretq
""",
    "triple": r"""
lidt nothing(%rip); ud2; nothing: .quad 0, 0
""",
    "double": r"""
    lidt small(%rip)
    ud2
small: .word 0x8f
    .quad 0x7000
    .org 0x1000 + 32*8
    pop %r12
    mov (%rsp), %r13
    done
""",
    "ring3": r"""
    mov $0x38, %eax
    ltr %ax
    push $0x2b
    push $0x300000
    push $0x202
    push $0x33
    lea user(%rip), %rax
    push %rax
    iretq
user:
    mov $0x77, %ebx
    mov $0x40000000, %eax; cpuid
    ud2
    .org 0x1000 + 32*6
    jmp undefined
    .org 0x1000 + 32*20
    mov $3, %eax
    tdcall
    mov %rcx, %r12
    mov %rsp, %r13
    mov %cs, %r14d
    mov 8(%rsp), %r15
    mov 32(%rsp), %rbx
    mov %ss, %edx
    tdvmcall 0x2004
    addq $2, (%rsp)
    iretq
undefined:
    mov %rsp, %r13
    mov 24(%rsp), %r12
    done
""",
    "syscall": r"""
    mov $0x38, %eax
    ltr %ax
    mov $0xc0000081, %ecx
    xor %eax, %eax
    mov $0x00230010, %edx
    wrmsr
    mov $0xc0000082, %ecx
    lea kernel(%rip), %rax
    xor %edx, %edx
    wrmsr
    mov $0xc0000084, %ecx
    mov $0x200, %eax
    wrmsr
    mov $0x174, %ecx
    mov $0x10, %eax
    wrmsr
    mov $0x175, %ecx
    mov $0x90000, %eax
    wrmsr
    mov $0x176, %ecx
    lea fast(%rip), %rax
    wrmsr
    mov $0x300000, %esp
    lea user(%rip), %rcx
    mov $0x202, %r11d
    sysretq
user:
    mov %cs, %r8d
    syscall
    inc %r9
    sysenter
    ud2
kernel:
    pushf
    pop %r12
    mov %rcx, %r13
    mov %r11, %r14
    mov %cs, %r15d
    mov %rcx, %rbx
    tdvmcall 0x2005
    mov %rbx, %rcx
    mov $0x202, %r11d
    sysretq
fast:
    mov %rsp, %r12
    mov %cs, %r13d
    mov %ss, %r14d
    mov %r9, %r15
    tdvmcall 0x2006
    mov $0x300000, %ecx
    lea back(%rip), %rdx
    rex.w sysexit
back:
    mov %cs, %r12d
    mov %rsp, %r13
    ud2
    .org 0x1000 + 32*6
    tdvmcall 0x2007
    done
""",
    "interrupts": r"""
    mov $0x83f, %ecx
    mov $0x50, %eax
    xor %edx, %edx
    wrmsr
    mov $0x41, %eax
    wrmsr
    mov $1, %r12d
    sti
    mov $2, %r12d
    mov $3, %r12d
    cli
    mov $0x61, %eax
    wrmsr
    mov $0x10000, %r14d
1:  dec %r14d
    jnz 1b
    sti
    nop
    cli
    done
    .irp n, 0x41, 0x50, 0x61
    .org 0x1000 + 32*\n
    push $\n
    jmp handler
    .endr
    .org 0x3000
handler:
    push %rax; push %rcx; push %rdx
    mov 24(%rsp), %r13
    mov 32(%rsp), %r15
    tdvmcall 0x2008
    mov $0x80b, %ecx
    xor %eax, %eax
    xor %edx, %edx
    wrmsr
    pop %rdx; pop %rcx; pop %rax
    add $8, %rsp
    iretq
""",
    "timer": r"""
    mov $0x832, %r12d
    mov $0x40061, %r13d
    tdvmcall 32
    rdtsc
    shl $32, %rdx
    or %rax, %rdx
    add $100000, %rdx
    mov %rdx, %r13
    mov %rdx, %rbp
    mov $0x6e0, %r12d
    tdvmcall 32
    sti
1:  inc %rbx
    jmp 1b
    .org 0x1000 + 32*0x61
    rdtsc
    shl $32, %rdx
    or %rax, %rdx
    mov %rdx, %r12
    mov %rbp, %r13
    mov %rbx, %r14
    done
""",
    "halt": r"""
    mov $0x832, %r12d
    mov $0x40061, %r13d
    tdvmcall 32
    mov $5000000, %r13d
    mov $0x6e0, %r12d
    tdvmcall 32
    sti
    xor %r12d, %r12d
    tdvmcall 12
1:  jmp 1b
    .org 0x1000 + 32*0x61
    mov $0x10, %ecx
    rdmsr
    shl $32, %rdx
    or %rax, %rdx
    mov %rdx, %r12
    done
""",
    "shared": r"""
    mov $0x40300000, %esi
    movq $0x1234, (%rsi)
    mov (%rsi), %r12
    lock addq $1, (%rsi)
    mov (%rsi), %r13
    mov $0x40300ffc, %esi
    movq $0x55, (%rsi)
    mov (%rsi), %r14
    mov $0x40302000, %edi
    mov $0x40300000, %esi
    mov $16, %ecx
    rep movsb
    mov 0x40302000, %r15
    tdvmcall 0x2009
    done
""",
    "mmio": r"""
    mov $0x80000010, %esi
    mov (%rsi), %eax
    mov %eax, (%rsi)
    done
    .org 0x1000 + 32*20
    push %rax
    mov $3, %eax
    tdcall
    mov %rcx, %r12
    mov %rdx, %r13
    mov %r8, %r14
    mov %r9, %r15
    tdvmcall 0x200a
    pop %rax
    addq $2, (%rsp)
    iretq
""",
    "accept": r"""
    mov $0x900000, %ecx
    mov $6, %eax
    tdcall
    mov %rax, %r12
    movq $7, 0x900000
    mov 0x900000, %r13
    mov $0x900000, %ecx
    mov $6, %eax
    tdcall
    mov %rax, %r14
    tdvmcall 0x200b
    mov 0x901000, %rax
    done
    .org 0x1000 + 32*20
    mov $3, %eax
    tdcall
    mov %rcx, %r12
    mov %rdx, %r13
    mov %r8, %r14
    mov %r9, %r15
    done
""",
    "random": r"""
    rdrand %r12
    rdseed %r13d
    rdrand %r14w
    setc %r15b
    rdtsc
    mov %eax, %ebx
    rdtscp
    sub %ebx, %eax
    mov %eax, %ebx
    tdvmcall 0x200c
    done
""",
    "registers": r"""
    mov $0x12345678, %eax
    mov %rax, %dr0
    mov %dr0, %r12
    mov %dr7, %r13
    mov $5, %eax
    mov %rax, %cr8
    mov %cr8, %r14
    mov %cr0, %rax
    or $8, %rax
    mov %rax, %cr0
    clts
    mov %cr0, %r15
    tdvmcall 0x200d
    mov %cr4, %rax
    or $0x80, %rax
    mov %rax, %cr4
    mov %cr4, %r12
    mov $0xc0000080, %ecx
    rdmsr
    and $~1, %eax
    wrmsr
    rdmsr
    mov %eax, %r13d
    tdvmcall 0x200e
    mov %cr4, %rax
    or $0x40000, %rax
    mov %rax, %cr4
    .org 0x1000 + 32*13
    pop %r12
    done
""",
    "pcid": r"""
    mov %cr4, %rax
    bts $17, %rax
    mov %rax, %cr4
    mov %cr4, %r12
    mov %cr3, %rbx
    lea 5(%rbx), %rax
    bts $63, %rax
    mov %rax, %cr3
    mov %cr3, %r13
    tdvmcall 0x2020
    mov %cr0, %rax
    btr $31, %rax
    mov %rax, %cr0
    mov %cr4, %rax
    btr $17, %rax
    mov %rax, %cr4
    bts $17, %rax
    mov %rax, %cr4
    mov %cr3, %r13
    mov %rbx, %cr3
    mov %cr3, %r14
    mov %rbp, %r12
    done
    .org 0x1000 + 32*13
    inc %rbp
    add $8, %rsp
    addq $3, (%rsp)
    iretq
""",
    "two": r"""
    mov $0x500000, %rsi
    mov $50, %ebx
1:  mov $20000, %ecx
2:  dec %ecx
    jnz 2b
    lock incq (%rsi)
    mov (%rsi), %r12
    mov %rdi, %r13
    tdvmcall 0x200f
    dec %ebx
    jnz 1b
    tdvmcall 0x2010
3:  pause
    jmp 3b
""",
    "selfmod": r"""
    mov $10, %ebx
1:  lea patch+2(%rip), %rdi
    incb (%rdi)
patch: mov $0x40, %r12b
    dec %ebx
    jnz 1b
    nop
    tdvmcall 0x2011
    done
""",
    "stack_in_code": r"""
    lea top(%rip), %rsp
    mov $4, %ebx
1:  out %al, $0x80
    dec %ebx
    jnz 1b
    lea victim+5(%rip), %rsp
    jmp victim
    .org 0x7f0
top:
    .org 0x800
victim:
    mov $1, %r12d
    tdvmcall 0x2012
    done
    .org 0x1000 + 32*20
    mov $3, %eax
    tdcall
    addq $2, (%rsp)
    iretq
""",
    "wild": r"""
mov $0x700000000000, %rax; jmp *%rax
""",
    "device": r"""
mov $0x80000000, %eax; jmp *%rax
""",
    "fault_loop": r"""
    ud2
    .org 0x1000 + 32*6
    ud2
""",
    "compat": r"""
.code32
    mov $0x10000, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x620, %eax
    mov %eax, %cr4
    mov %cr0, %eax
    or $0x80010000, %eax
    mov %eax, %cr0
    lgdt gdtr
    ljmp $0x10, $long
gdtr: .word 0x1f
    .long 0x6000
.code64
long: mov $1, %eax
    tdcall
    mov %rcx, %r12
    mov %rdi, %r13
    mov $0x80000, %esp
    tdvmcall 0x2013
    done
""",
    "gates": r"""
    int $0x30
    done
    .irp n, 10, 11, 12, 13, 48
    .org 0x1000 + 32*\n
    .if \n == 48
    push $0x55
    .endif
    push $\n
    jmp common
    .endr
    .org 0x1800
common:
    pop %r12
    pop %r13
    pop %r14
    done
""",
    "legacy": r"""
.code32
    lgdt gdtr
    lidt idtr
    xor %ecx, %ecx
    mov $0x18, %eax
    mov %ax, %ss
    mov $0x70000, %esp
    ud2
back: int $0x30
    out %al, $0x80
    mov $0xdead, %edi
    lgdt nothing
    mov $0x500, %esi
    int $0x31
gdtr: .word 0x27
    .long 0x6000
idtr: .word 0x7ff
    .long 0x8000
nothing: .quad 0
    .org 0x1000 + 32*6
    mov (%esp), %edx
    addl $2, (%esp)
    iret
    .org 0x1000 + 32*20
    addl $2, (%esp)
    inc %ebp
    iret
    .org 0x1000 + 32*48
    mov (%esp), %ebx
    mov 8(%esp), %esi
    iret
""",
    "compat_call": r"""
    mov $0x38, %eax
    ltr %ax
    mov $0x174, %ecx
    mov $0x10, %eax
    xor %edx, %edx
    wrmsr
    mov $0x175, %ecx
    mov $0x90000, %eax
    wrmsr
    mov $0x176, %ecx
    lea entry(%rip), %rax
    wrmsr
    mov $0x300000, %ecx
    lea user(%rip), %rdx
    sysexit
    .code32
user: mov $0x123, %ebx
    sysenter
    .code64
entry:
    mov %rsp, %r12
    mov %cs, %r13d
    mov %rbx, %r14
    tdvmcall 0x2014
    mov $0x300000, %ecx
    lea again(%rip), %rdx
    sysexit
    .code32
again: syscall
    .code64
    .org 0x1000 + 32*6
    mov 8(%rsp), %r12
    mov (%rsp), %r13
    done
""",
    "stores": r"""
    mov $0x200000, %esi
    mov $0x1122334455667788, %rax
    mov %al, (%rsi)
    mov %rax, 1(%rsi)
    mov %ax, 9(%rsi)
    mov $3, %ecx
    lea 0x20(%rsi), %rdi
    rep stosl
    mov $5, %ecx
    lea 0x2c(%rsi), %rdi
    rep movsb
    mov $0x200000, %esi
    mov $0x200100, %esp
    push %rax
    call 1f
1:  pop %rcx
    enter $16, $0
    leave
    movups %xmm1, 0x200(%rsi)
    lea 0x210(%rsi), %rdi
    xor %eax, %eax
    xor %edx, %edx
    mov $7, %ebx
    mov $9, %ecx
    lock cmpxchg16b (%rdi)
    lock cmpxchg16b (%rdi)
    xchg %rbx, 0x220(%rsi)
    lock xadd %rcx, 0x228(%rsi)
    lock incw 0x22f(%rsi)
    shlb $1, 0x220(%rsi)
    fxsave 0x400(%rsi)
    fnstenv 0x600(%rsi)
    sgdt 0x620(%rsi)
    movl $5, 0xffe(%rsi)
    movups %xmm1, 0x1ffc(%rsi)
    addl $0x10203, 0x1ffffe(%rsi)
    addq $0x77, 0x1ffffc(%rsi)
    tdvmcall 0x2020
    done
""",
    "forgetful": r"""
    mov $0x10000, %ebx
    mov $0x500000, %esi
    xor %r12d, %r12d
1:  mov (%rsi), %rax
    testb $0x20, 0x2010(%rbx)
    jz 2f
    inc %r12
    andb $0xdf, 0x2010(%rbx)
2:  jmp 1b
""",
}

IMAGES: Final[dict[str, tuple[tuple[int, str], ...]]] = {
    "serial": (
        (
            0x0,
            "bb0300000041bc0100000041bd0100000041bef803000041bf4100000041bb1e0000004531d2"
            "b9ccff000031c0660f01ccffcb75d041bb030001004531d2b9ccff000031c0660f01cc",
        ),
    ),
    "spin": ((0x0, "48ffc04801c348311c24ebf4"),),
    "storm": ((0x0, "41bb341200004531d2b9ccff000031c0660f01ccebea"),),
    "io": (
        (
            0x0,
            "48b8887766554433221139c0e4717532baf8030000b099eee78066edbe00002000b903000000"
            "f36ebf001020006d41bb030001004531d2b9ccff000031c0660f01cc0f0b",
        ),
        (0x1280, "e97b05"),
        (
            0x1800,
            "5051524150415141524153b803000000660f01cc4989d44589d549c1ea204d89d64c8b7c2438"
            "41bb012000004531d2b9ccff000031c0660f01cc4589ed4c016c2438415b415a415941585a59"
            "5848cf",
        ),
    ),
    "flags": (
        (
            0x0,
            "f9b8ffffff7fffc0e6809c415cfd0fa29c415dfc41bb012000004531d2b9ccff000031c0660f"
            "01cc41bb030001004531d2b9ccff000031c0660f01cc",
        ),
        (0x1280, "b803000000660f01cc488304240248cf"),
    ),
    "instructions": (
        (
            0x0,
            "b8000000400fa2f4b91b0000000f320f300f090f080f01c10f01c80f01c941bb030001004531"
            "d2b9ccff000031c0660f01cc",
        ),
        (
            0x1280,
            "5051524150415141524153b803000000660f01cc4989cc4589d541bb022000004531d2b9ccff"
            "000031c0660f01cc4c016c2438415b415a415941585a595848cf",
        ),
    ),
    "exceptions": (
        (
            0x0,
            "31c966662e0f1f8400000000000f1f00f7f166662e0f1f8400000000000f1f000f0b66662e0f"
            "1f8400000000000f1f00cc66662e0f1f8400000000000f1f4000cd3066662e0f1f8400000000"
            "000f1f0048bb0000000000080000660f1f44000048891b66662e0f1f840000000000669048bb"
            "0000000000000080660f1f440000488b0366662e0f1f84000000000066900f78c366662e0f1f"
            "8400000000006690b94800000066662e0f1f8400000000008ed966662e0f1f8400000000000f"
            "1f00f166662e0f1f8400000000000f1f40009c48810c24000100009d660f1f4400009066662e"
            "0f1f8400000000000f1f400041bb030001004531d2b9ccff000031c0660f01cc",
        ),
        (0x1000, "6a556a00e9f707"),
        (0x1020, "6a556a01e9d707"),
        (0x1060, "6a556a03e99707"),
        (0x10C0, "6a556a06e93707"),
        (0x1100, "6a08e9f906"),
        (0x1160, "6a0be99906"),
        (0x1180, "6a0ce97906"),
        (0x11A0, "6a0de95906"),
        (0x11C0, "6a0ee93906"),
        (0x1600, "6a556a30e9f701"),
        (
            0x1800,
            "4c8b24244c8b6c24084c8b7424104c8b7c24200f20d241bb032000004531d2b9ccff000031c0"
            "660f01cc4881642420fffeffff48834c24100f48ff4424104883c41048cf",
        ),
    ),
    "triple": ((0x0, "0f011d020000000f0b"),),
    "double": (
        (0x0, "0f011d020000000f0b8f000070"),
        (0x1100, "415c4c8b2c2441bb030001004531d2b9ccff000031c0660f01cc"),
    ),
    "ring3": (
        (
            0x0,
            "b8380000000f00d86a2b680000300068020200006a33488d05030000005048cfbb77000000b8"
            "000000400fa20f0b",
        ),
        (0x10C0, "e9f401"),
        (
            0x1280,
            "b803000000660f01cc4989cc4989e5418cce4c8b7c2408488b5c24208cd241bb042000004531"
            "d2b9ccff000031c0660f01cc488304240248cf4989e54c8b64241841bb030001004531d2b9cc"
            "ff000031c0660f01cc",
        ),
    ),
    "syscall": (
        (
            0x0,
            "b8380000000f00d8b9810000c031c0ba100023000f30b9820000c0488d055700000031d20f30"
            "b9840000c0b8000200000f30b974010000b8100000000f30b975010000b8000009000f30b976"
            "010000488d05520000000f30bc00003000488d0d0900000041bb02020000480f07418cc80f05"
            "49ffc10f340f0b9c415c4989cd4d89de418ccf4889cb41bb052000004531d2b9ccff000031c0"
            "660f01cc4889d941bb02020000480f074989e4418ccd418cd64d89cf41bb062000004531d2b9"
            "ccff000031c0660f01ccb900003000488d1503000000480f35418ccc4989e50f0b",
        ),
        (
            0x10C0,
            "41bb072000004531d2b9ccff000031c0660f01cc41bb030001004531d2b9ccff000031c0660f01cc",
        ),
    ),
    "interrupts": (
        (
            0x0,
            "b93f080000b85000000031d20f30b8410000000f3041bc01000000fb41bc0200000041bc0300"
            "0000fab8610000000f3041be0000010041ffce75fbfb90fa41bb030001004531d2b9ccff0000"
            "31c0660f01cc",
        ),
        (0x1820, "6a41e9d917"),
        (0x1A00, "6a50e9f915"),
        (0x1C20, "6a61e9d913"),
        (
            0x3000,
            "5051524c8b6c24184c8b7c242041bb082000004531d2b9ccff000031c0660f01ccb90b080000"
            "31c031d20f305a59584883c40848cf",
        ),
    ),
    "timer": (
        (
            0x0,
            "41bc3208000041bd6100040041bb200000004531d2b9ccff000031c0660f01cc0f3148c1e220"
            "4809c24881c2a08601004989d54889d541bce006000041bb200000004531d2b9ccff000031c0"
            "660f01ccfb48ffc3ebfb",
        ),
        (0x1C20, "0f3148c1e2204809c24989d44989ed4989de41bb030001004531d2b9ccff000031c0660f01cc"),
    ),
    "halt": (
        (
            0x0,
            "41bc3208000041bd6100040041bb200000004531d2b9ccff000031c0660f01cc41bd404b4c00"
            "41bce006000041bb200000004531d2b9ccff000031c0660f01ccfb4531e441bb0c0000004531"
            "d2b9ccff000031c0660f01ccebfe",
        ),
        (0x1C20, "b9100000000f3248c1e2204809c24989d441bb030001004531d2b9ccff000031c0660f01cc"),
    ),
    "shared": (
        (
            0x0,
            "be0000304048c706341200004c8b26f0488306014c8b2ebefc0f304048c706550000004c8b36"
            "bf00203040be00003040b910000000f3a44c8b3c250020304041bb092000004531d2b9ccff00"
            "0031c0660f01cc41bb030001004531d2b9ccff000031c0660f01cc",
        ),
    ),
    "mmio": (
        (0x0, "be100000808b06890641bb030001004531d2b9ccff000031c0660f01cc"),
        (
            0x1280,
            "50b803000000660f01cc4989cc4989d54d89c64d89cf41bb0a2000004531d2b9ccff000031c0"
            "660f01cc58488304240248cf",
        ),
    ),
    "accept": (
        (
            0x0,
            "b900009000b806000000660f01cc4989c448c7042500009000070000004c8b2c2500009000b9"
            "00009000b806000000660f01cc4989c641bb0b2000004531d2b9ccff000031c0660f01cc488b"
            "04250010900041bb030001004531d2b9ccff000031c0660f01cc",
        ),
        (
            0x1280,
            "b803000000660f01cc4989cc4989d54d89c64d89cf41bb030001004531d2b9ccff000031c0660f01cc",
        ),
    ),
    "random": (
        (
            0x0,
            "490fc7f4410fc7fd66410fc7f6410f92c70f3189c30f01f929d889c341bb0c2000004531d2b9"
            "ccff000031c0660f01cc41bb030001004531d2b9ccff000031c0660f01cc",
        ),
    ),
    "registers": (
        (
            0x0,
            "b8785634120f23c0410f21c4410f21fdb805000000440f22c0450f20c60f20c04883c8080f22"
            "c00f06410f20c741bb0d2000004531d2b9ccff000031c0660f01cc0f20e0480d800000000f22"
            "e0410f20e4b9800000c00f3283e0fe0f300f324189c541bb0e2000004531d2b9ccff000031c0"
            "660f01cc0f20e0480d000004000f22e0",
        ),
        (0x11A0, "415c41bb030001004531d2b9ccff000031c0660f01cc"),
    ),
    "pcid": (
        (
            0x0,
            "0f20e0480fbae8110f22e0410f20e40f20db488d4305480fbae83f0f22d8410f20dd41bb2020"
            "00004531d2b9ccff000031c0660f01cc0f20c0480fbaf01f0f22c00f20e0480fbaf0110f22e0"
            "480fbae8110f22e0410f20dd0f22db410f20de4989ec41bb030001004531d2b9ccff000031c0"
            "660f01cc",
        ),
        (0x11A0, "48ffc54883c408488304240348cf"),
    ),
    "two": (
        (
            0x0,
            "48c7c600005000bb32000000b9204e0000ffc975fcf048ff064c8b264989fd41bb0f20000045"
            "31d2b9ccff000031c0660f01ccffcb75d541bb102000004531d2b9ccff000031c0660f01ccf3"
            "90ebfc",
        ),
    ),
    "selfmod": (
        (
            0x0,
            "bb0a000000488d3d04000000fe0741b440ffcb75f09041bb112000004531d2b9ccff000031c0"
            "660f01cc41bb030001004531d2b9ccff000031c0660f01cc",
        ),
    ),
    "stack_in_code": (
        (0x0, "488d25e9070000bb04000000e680ffcb75fa488d25ec070000e9e207"),
        (
            0x800,
            "41bc0100000041bb122000004531d2b9ccff000031c0660f01cc41bb030001004531d2b9ccff"
            "000031c0660f01cc",
        ),
        (0x1280, "b803000000660f01cc488304240248cf"),
    ),
    "wild": ((0x0, "48b80000000000700000ffe0"),),
    "device": ((0x0, "b800000080ffe0"),),
    "fault_loop": (
        (0x0, "0f0b"),
        (0x10C0, "0f0b"),
    ),
    "compat": (
        (
            0x0,
            "b8000001000f22d80f20e00d200600000f22e00f20c00d000001800f22c00f01152c001000ea"
            "3200100010001f0000600000b801000000660f01cc4989cc4989fdbc0000080041bb13200000"
            "4531d2b9ccff000031c0660f01cc41bb030001004531d2b9ccff000031c0660f01cc",
        ),
    ),
    "gates": (
        (0x0, "cd3041bb030001004531d2b9ccff000031c0660f01cc"),
        (0x1140, "6a0ae9b906"),
        (0x1160, "6a0be99906"),
        (0x1180, "6a0ce97906"),
        (0x11A0, "6a0de95906"),
        (0x1600, "6a556a30e9f701"),
        (0x1800, "415c415d415e41bb030001004531d2b9ccff000031c0660f01cc"),
    ),
    "legacy": (
        (
            0x0,
            "0f0115350010000f011d3b00100031c9b8180000008ed0bc000007000f0bcd30e680bfadde00"
            "000f011541001000be00050000cd31270000600000ff070080",
        ),
        (0x10C0, "8b142483042402cf"),
        (0x1280, "8304240245cf"),
        (0x1600, "8b1c248b742408cf"),
    ),
    "compat_call": (
        (
            0x0,
            "b8380000000f00d8b974010000b81000000031d20f30b975010000b8000009000f30b9760100"
            "00488d05170000000f30b900003000488d15020000000f35bb230100000f344989e4418ccd49"
            "89de41bb142000004531d2b9ccff000031c0660f01ccb900003000488d15020000000f350f05",
        ),
        (0x10C0, "4c8b6424084c8b2c2441bb030001004531d2b9ccff000031c0660f01cc"),
    ),
    "stores": (
        (
            0x0,
            "be0000200048b8887766554433221188064889460166894609b903000000488d7e20f3abb9050000"
            "00488d7e2cf3a4be00002000bc0001200050e80000000059c8100000c90f118e00020000488dbe10"
            "02000031c031d2bb07000000b909000000f0480fc70ff0480fc70f48879e20020000f0480fc18e28"
            "02000066f0ff862f020000d0a6200200000fae8600040000d9b6000600000f018620060000c786fe"
            "0f0000050000000f118efc1f00008186feff1f0003020100488386fcff1f007741bb202000004531"
            "d2b9ccff000031c0660f01cc41bb030001004531d2b9ccff000031c0660f01cc",
        ),
    ),
    "forgetful": (
        (0x0, "bb00000100be000050004531e4488b06f6831020000020740a49ffc480a310200000dfebe8"),
    ),
}

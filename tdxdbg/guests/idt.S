# idt.S: 256 gates, and what a handler is owed: every register saved, a frame.
#
# Vector 20 goes to ve_handler (ve.S); 32 and up are counted and acknowledged; a
# fault that the guest waited for (MAY_FAULT) resumes it; anything else is told to
# the host as a fatal error.

    .include "td.inc"

    .set GATE, 0x8e00               # present, DPL 0, 64-bit interrupt gate
    .set CODE_SELECTOR, 0x08
    .set DATA_SELECTOR, 0x10
    .set STUB_SIZE, 16
    .set VE, 20
    .set FIRST_INTERRUPT, 32
    .set X2APIC_EOI, 0x80b
    # #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP push an error code.
    .set WITH_ERROR_CODE, 0x00227d00

# Builds the table and loads it; each vCPU calls this. Changes RAX, RCX, RDX, RDI.
    .section .text.idt_install, "ax"
    .globl idt_install
idt_install:
    lea idt(%rip), %rdi
    lea stubs(%rip), %rax
    mov $256, %ecx
1:  mov %ax, (%rdi)
    movw $CODE_SELECTOR, 2(%rdi)
    movw $GATE, 4(%rdi)
    mov %eax, %edx
    shr $16, %edx
    mov %dx, 6(%rdi)
    movq $0, 8(%rdi)                # the stubs lie below 4 GiB
    add $STUB_SIZE, %rax
    add $16, %rdi
    dec %ecx
    jnz 1b
    lidt idt_register(%rip)
    ret

    .section .text.idt_stubs, "ax"
    .balign STUB_SIZE
stubs:
    .set vector, 0
    .rept 256
    .balign STUB_SIZE
    .if vector >= 32 || !((WITH_ERROR_CODE >> (vector & 31)) & 1)
    push $0
    .endif
    .byte 0x68                      # push imm32; the 8-bit form is signed
    .long vector
    jmp trap
    .set vector, vector + 1
    .endr

trap:
    push %r15
    push %r14
    push %r13
    push %r12
    push %r11
    push %r10
    push %r9
    push %r8
    push %rdi
    push %rsi
    push %rbp
    push $0                         # where RSP would be; the real one is in the frame
    push %rbx
    push %rdx
    push %rcx
    push %rax
    cld
    mov %rsp, %rdi
    call on_trap
    pop %rax
    pop %rcx
    pop %rdx
    pop %rbx
    add $8, %rsp
    pop %rbp
    pop %rsi
    pop %rdi
    pop %r8
    pop %r9
    pop %r10
    pop %r11
    pop %r12
    pop %r13
    pop %r14
    pop %r15
    add $16, %rsp                   # the vector and the error code
    iretq

# RDI the frame.
on_trap:
    mov FRAME_VECTOR(%rdi), %eax
    cmp $FIRST_INTERRUPT, %eax
    jae on_interrupt
    cmp $VE, %eax
    je ve_handler
    jmp on_fault

on_interrupt:
    lock incl interrupts(%rip)
    mov %eax, last_interrupt(%rip)
    mov $X2APIC_EOI, %ecx           # native in a TD: no exit, no #VE
    xor %eax, %eax
    xor %edx, %edx
    wrmsr
    ret

# RDI the frame, EAX the vector.
    .globl on_fault
on_fault:
    xor %edx, %edx
    xchg %rdx, fault_resume(%rip)
    test %rdx, %rdx
    jz unexpected
    mov %eax, fault_vector(%rip)
    mov FRAME_ERROR(%rdi), %rcx
    mov %rcx, fault_error(%rip)
    mov %rdx, FRAME_RIP(%rdi)
    movq $CODE_SELECTOR, FRAME_CS(%rdi)
    movq $DATA_SELECTOR, FRAME_SS(%rdi)
    ret

# Tells the vector in the text of the fatal error, and where in R12's extension.
unexpected:
    xor %edx, %edx
    mov $10, %ecx
    div %ecx
    add $'0', %al
    add $'0', %dl
    mov %al, surprise_digits(%rip)
    mov %dl, surprise_digits+1(%rip)
    mov FRAME_RIP(%rdi), %r12
    shl $32, %r12
    xor %r13d, %r13d
    mov surprise(%rip), %r14
    mov surprise+8(%rip), %r15
    mov surprise+16(%rip), %rbx
    xor %edi, %edi
    xor %esi, %esi
    xor %r8d, %r8d
    xor %r9d, %r9d
    xor %edx, %edx
1:  TDVMCALL REPORT_FATAL_ERROR, AS_LINUX
    jmp 1b

    .section .data.idt, "aw"
    .balign 8
    .globl fault_vector, fault_error, fault_resume, interrupts, last_interrupt
# The vector of the last fault that was waited for, -1 for none.
fault_vector:
    .long -1
interrupts:
    .long 0
last_interrupt:
    .long 0
    .balign 8
fault_error:
    .quad 0
fault_resume:
    .quad 0
surprise:
    .ascii "unexpected exception "
surprise_digits:
    .ascii "00"
    .byte 0
idt_register:
    .word 256 * 16 - 1
    .quad idt

    .section .bss.idt, "aw", @nobits
    .balign 16
idt:
    .skip 256 * 16

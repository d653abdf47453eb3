# lib.S: the few functions that most guests need.

    .include "td.inc"

# RBX GPAW, R8 the boot information page, as the loader left them.
# Changes RAX, RCX.
    .section .text.td_start, "ax"
    .globl td_start
td_start:
    mov %r8, boot_info(%rip)
    lea -1(%rbx), %ecx
    mov $1, %eax
    shl %cl, %rax
    mov %rax, shared_bit(%rip)
    ret

# RDI the code.
    .section .text.td_exit, "ax"
    .globl td_exit
td_exit:
    PORT_OUT DEBUG_EXIT, 1, %edi
# A host without such a port goes on.
    cli
1:  mov $1, %r12d
    TDVMCALL HLT
    jmp 1b

# RDI a text that ends with 0. Changes the flags only.
    .section .text.puts, "ax"
    .globl puts
puts:
    push %rsi
    xor %esi, %esi
1:  cmpb $0, (%rdi,%rsi)
    je 2f
    inc %rsi
    jmp 1b
2:  call put_bytes
    pop %rsi
    ret

# RDI address, RSI number of bytes. Changes the flags only.
    .section .text.put_bytes, "ax"
    .globl put_bytes
put_bytes:
    push %rax
    push %rcx
    push %rsi
    push %rdi
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
1:  dec %rsi
    js 2f
    movzbl (%rdi), %eax
    PORT_OUT COM1, 1, %eax
    inc %rdi
    jmp 1b
2:  pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %rdi
    pop %rsi
    pop %rcx
    pop %rax
    ret

# RDI a number. Changes the flags only.
    .section .text.put_hex, "ax"
    .globl put_hex
put_hex:
    push %rbx
    mov $16, %ebx
    call put_number
    pop %rbx
    ret

    .section .text.put_dec, "ax"
    .globl put_dec
put_dec:
    push %rbx
    mov $10, %ebx
    call put_number
    pop %rbx
    ret

# RDI a number, RBX the base: digits from the last one on, into the stack.
    .section .text.put_number, "ax"
put_number:
    push %rax
    push %rdx
    push %rsi
    push %rdi
    push %rbp
    mov %rsp, %rbp
    sub $32, %rsp
    mov %rbp, %rsi
    mov %rdi, %rax
1:  xor %edx, %edx
    div %rbx
    mov digits(%rdx), %dl
    dec %rsi
    mov %dl, (%rsi)
    test %rax, %rax
    jnz 1b
    cmp $16, %ebx
    jne 2f
    dec %rsi
    movb $'x', (%rsi)
    dec %rsi
    movb $'0', (%rsi)
2:  mov %rsi, %rdi
    mov %rbp, %rsi
    sub %rdi, %rsi
    call put_bytes
    mov %rbp, %rsp
    pop %rbp
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rax
    ret

    .section .rodata.digits, "a"
digits:
    .ascii "0123456789abcdef"

    .section .bss.boot, "aw", @nobits
    .balign 8
    .globl boot_info, shared_bit
# The GPA of the boot information page.
boot_info:
    .skip 8
# The bit of a GPA that says shared: bit 47 or 51.
shared_bit:
    .skip 8

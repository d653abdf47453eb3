# bad_citizen: everything that a guest must not do, one after the other.
#
# It survives each: nothing here is allowed, and all of it has an answer. The
# module refuses register bitmaps, leaves and reserved bits without an exit; KVM
# refuses sub-functions, sizes and addresses, or hands them to userspace as they
# are; instructions that a TD does not have become #UD, #GP or #VE. In between it
# writes to the serial port what no terminal should get to see.
#
# Ends: with an IDT where nothing is, an undefined instruction makes a triple fault,
# and KVM_EXIT_SHUTDOWN follows.

    .include "td.inc"

    .set LEVEL_2M, 1
    .set USER_DATA, 0x18
    .set USER_CODE, 0x20
    .set TASK, 0x28
    .set ENTRY_USER, 4
    .set CR0_NE, 1 << 5
    .set CR0_CD, 1 << 30
    .set EFER, 0xc0000080
    .set EFER_NXE, 1 << 11

# An instruction that faults, or does not; says the vector (-1: none).
.macro FAULTS text, instruction:vararg
    MAY_FAULT 9991f
    \instruction
9991:
    PRINT "\text"
    call say_vector
.endm

# An instruction of which a #VE comes; says the exit reason, and R10 of the call.
.macro GIVES_VE text, instruction:vararg
    movl $0, ve_reason(%rip)
    movq $0, ve_status(%rip)
    \instruction
    PRINT "\text"
    call say_ve
.endm

START
    call idt_install
    call bitmaps
    call leaves
    call calls
    call instructions
    call pages
    call ring_3
    lea noise(%rip), %rdi
    mov $noise_size, %esi
    call put_bytes
    PRINT "last: an IDT in nowhere\n"
    lidt nowhere(%rip)
    ud2

# --- registers of TDG.VP.VMCALL -------------------------------------------------------

# An illegal bitmap never leaves the module. The last two are legal: with nothing
# selected the host sees sub-function 0, and cannot say what it thinks of it.
bitmaps:
    lea bad_bitmaps(%rip), %rbx
1:  mov (%rbx), %rcx
    PRINT "bitmap "
    PRINT_HEX %rcx
    xor %r10d, %r10d
    mov $0x1234, %r11d
    xor %eax, %eax
    tdcall
    PRINT ": RAX "
    PRINT_HEX %rax
    PRINT " R10 "
    PRINT_HEX %r10
    PRINT "\n"
    add $8, %rbx
    lea bad_bitmaps_end(%rip), %rax
    cmp %rax, %rbx
    jb 1b
    ret

leaves:
    lea bad_leaves(%rip), %rbx
1:  mov (%rbx), %rax
    PRINT "RAX "
    PRINT_HEX %rax
    xor %ecx, %ecx
    tdcall
    PRINT ": "
    PRINT_HEX %rax
    PRINT "\n"
    add $8, %rbx
    lea bad_leaves_end(%rip), %rax
    cmp %rax, %rbx
    jb 1b
    PRINT "VEINFO.GET without #VE: "
    TDG TDG_VP_VEINFO_GET
    PRINT_HEX %rax
    PRINT "\nVM.WR of no field: "
    xor %ecx, %ecx
    mov $-2, %rdx
    mov $-1, %r8
    mov $-1, %r9
    TDG TDG_VM_WR
    PRINT_HEX %rax
    PRINT "\nREPORT to nowhere: "
    mov $1, %ecx
    shl $52, %rcx
    lea report_data(%rip), %rdx
    xor %r8d, %r8d
    TDG TDG_MR_REPORT
    PRINT_HEX %rax
    PRINT "\n"
    ret

# --- calls of the host ----------------------------------------------------------------

# A row: sub-function, R12, R13, R14, R15, and what depends on the GPA width: whether
# R12 or R14 gets the shared bit, or R13 is all of the address space.
    .set SHARE_R12, 1
    .set SHARE_R14, 2
    .set ALL_IN_R13, 4
    .set ROW, 48
calls:
    lea bad_calls(%rip), %rbx
1:  mov 0(%rbx), %r11
    mov 8(%rbx), %r12
    mov 16(%rbx), %r13
    mov 24(%rbx), %r14
    mov 32(%rbx), %r15
    mov 40(%rbx), %edx
    mov shared_bit(%rip), %rax
    test $SHARE_R12, %edx
    jz 2f
    or %rax, %r12
2:  test $SHARE_R14, %edx
    jz 3f
    or %rax, %r14
3:  test $ALL_IN_R13, %edx
    jz 4f
    lea (%rax,%rax), %r13
4:  PRINT_HEX %r11
    PRINT " "
    PRINT_HEX %r12
    PRINT " "
    PRINT_HEX %r13
    xor %r10d, %r10d
    mov $R10_TO_R15, %ecx
    xor %eax, %eax
    tdcall
    PRINT ": "
    PRINT_HEX %r10
    PRINT "\n"
    add $ROW, %rbx
    lea bad_calls_end(%rip), %rax
    cmp %rax, %rbx
    jb 1b
    ret

# --- instructions ---------------------------------------------------------------------

instructions:
    FAULTS "VMXOFF", vmxoff
    FAULTS "RDPMC", rdpmc
    FAULTS "VMLAUNCH", vmlaunch
    FAULTS "SEAMCALL", .byte 0x66, 0x0f, 0x01, 0xcf
    FAULTS "a jump out of the address space", call nowhere_to_go
    GIVES_VE "WBINVD", wbinvd
    GIVES_VE "INVD", invd
    GIVES_VE "VMCALL", vmcall
    GIVES_VE "MONITOR", monitor
    GIVES_VE "MWAIT", mwait
    mov %cr0, %rbx
    mov %rbx, %rsi
    and $~CR0_NE, %rsi
    GIVES_VE "CR0 without NE", mov %rsi, %cr0
    mov %rbx, %rsi
    or $CR0_CD, %rsi
    GIVES_VE "CR0 with CD", mov %rsi, %cr0
    mov $0x4711, %ecx
    GIVES_VE "RDMSR 0x4711", rdmsr
    mov $EFER, %ecx
    rdmsr
    xor $EFER_NXE, %eax
    GIVES_VE "WRMSR of EFER", wrmsr
    mov $-1, %ecx
    GIVES_VE "RDMSR 0xffffffff", rdmsr
    mov $0x54, %edx
    lea scratch(%rip), %rdi
    mov $3, %ecx
    GIVES_VE "REP INSB", rep insb
    lea scratch(%rip), %rsi
    mov $2, %ecx
    GIVES_VE "REP OUTSL", rep outsl
    mov $-1, %rcx
    GIVES_VE "REP OUTSB without end", rep outsb
    ret

nowhere_to_go:
    pop %rdx                        # nobody will come back
    mov $1, %edx
    ror $2, %rdx
    jmp *%rdx

say_vector:
    PRINT ": vector "
    mov fault_vector(%rip), %eax
    PRINT_DEC %rax
    PRINT "\n"
    ret

say_ve:
    PRINT ": #VE "
    mov ve_reason(%rip), %eax
    PRINT_DEC %rax
    PRINT " "
    PRINT_HEX ve_status(%rip)
    PRINT "\n"
    ret

# --- pages ----------------------------------------------------------------------------

.macro ACCEPT text:vararg
    TDG TDG_MEM_PAGE_ACCEPT
    PRINT \text
    PRINT_HEX %rax
    PRINT "\n"
.endm

pages:
    mov $0x100000, %ecx
    ACCEPT "accept this code: "
    mov $LEVEL_2M, %ecx
    ACCEPT "accept 2 MiB that are 4 KiB pages: "
    mov $-1, %rcx
    ACCEPT "accept what is no page: "
    mov $0x100008, %ecx
    ACCEPT "accept with reserved bits: "
    mov shared_bit(%rip), %rcx
    ACCEPT "accept a shared page: "
    ret

# --- CPL 3 ----------------------------------------------------------------------------

# The first 2 MiB become pages of CPL 3 too; TDCALL is a #GP there.
ring_3:
    mov %cr3, %rax
    mov $3, %ecx
1:  orq $ENTRY_USER, (%rax)
    mov (%rax), %rax
    and $-PAGE, %rax
    dec %ecx
    jnz 1b
    mov %cr3, %rax
    mov %rax, %cr3
    lea task(%rip), %rax
    lea task_stack_end(%rip), %rdx
    mov %rdx, 4(%rax)
    mov %ax, task_descriptor+2(%rip)
    shr $16, %eax
    mov %al, task_descriptor+4(%rip)
    mov %ah, task_descriptor+7(%rip)
    lgdt gdt_register(%rip)
    mov $TASK, %eax
    ltr %ax
    MAY_FAULT 2f
    mov %rsp, %rax
    push $USER_DATA + 3
    push %rax
    pushf
    push $USER_CODE + 3
    lea user(%rip), %rax
    push %rax
    iretq
user:
    xor %eax, %eax
    xor %ecx, %ecx
    tdcall
2:  PRINT "TDCALL at CPL 3"
    jmp say_vector

    .section .rodata
    .balign 8
bad_bitmaps:
    .quad 1 << 0                    # RAX
    .quad 1 << 1                    # RCX
    .quad 1 << 4                    # RSP
    .quad 1 << 5                    # RBP, which KVM never lets a TD expose
    .quad 1 << 32
    .quad -1
    .quad 0
    .quad 0xfffffc00                # all XMM registers
bad_bitmaps_end:

bad_leaves:
    .quad 13, 99, 254
    .quad 1 << 16                   # version 1 of TDG.VP.VMCALL
    .quad 1 << 24
    .quad 1 << 32
    .quad -1
bad_leaves_end:

bad_calls:
# Sub-functions that do not exist, or that KVM does not have.
    .quad 0x1234, 0, 0, 0, 0, 0
    .quad 0x10000000a, 0, 0, 0, 0, 0
    .quad 0x36, 0, 0, 0, 0, 0
    .quad 0x10005, 0, 0, 0, 0, 0
    .quad -1, 0, 0, 0, 0, 0
# MapGPA: nothing; two kinds of alignment; around the end; both halves; beyond.
    .quad MAP_GPA, 0x200000, 0, 0, 0, SHARE_R12
    .quad MAP_GPA, 0x200001, 0x1000, 0, 0, SHARE_R12
    .quad MAP_GPA, 0x200000, 0x1001, 0, 0, SHARE_R12
    .quad MAP_GPA, -0x1000, 0x2000, 0, 0, 0
    .quad MAP_GPA, 0, 0, 0, 0, ALL_IN_R13
    .quad MAP_GPA, 1 << 52, 0x1000, 0, 0, 0
    .quad MAP_GPA, 0x200000, 1 << 63, 0, 0, SHARE_R12
# GetQuote: a private buffer; no size; an absurd one; not aligned.
    .quad GET_QUOTE, 0x200000, 0x1000, 0, 0, 0
    .quad GET_QUOTE, 0x200000, 0, 0, 0, SHARE_R12
    .quad GET_QUOTE, 0x200000, 1 << 63, 0, 0, SHARE_R12
    .quad GET_QUOTE, 0x200008, 0x1000, 0, 0, SHARE_R12
# Vectors that are exceptions, or no vectors.
    .quad SETUP_EVENT_NOTIFY_INTERRUPT, 0, 0, 0, 0, 0
    .quad SETUP_EVENT_NOTIFY_INTERRUPT, 31, 0, 0, 0, 0
    .quad SETUP_EVENT_NOTIFY_INTERRUPT, 256, 0, 0, 0, 0
    .quad SETUP_EVENT_NOTIFY_INTERRUPT, 0x100000020, 0, 0, 0, 0
# MSRs that do not exist; the index is cut to 32 bits.
    .quad RDMSR, 0x4711, 0, 0, 0, 0
    .quad RDMSR, 0xffffffff, 0, 0, 0, 0
    .quad WRMSR, 0x4711, -1, 0, 0, 0
# Port I/O: sizes, a direction, a size and a port with bits above.
    .quad IO, 3, OUT, 0x80, 0, 0
    .quad IO, 8, OUT, 0x80, 0, 0
    .quad IO, 0, IN, 0x80, 0, 0
    .quad IO, 1, 2, 0x80, 0x77, 0
    .quad IO, 0x100000001, OUT, 0x80, 0x77, 0
    .quad IO, 1, OUT, 0x10080, 0x1ff, 0
# MMIO: sizes, a direction, a private GPA, the last byte there is, a page boundary,
# a GPA that no CPU has.
    .quad MMIO, 3, IN, NOTHING_THERE, 0, SHARE_R14
    .quad MMIO, 0, IN, NOTHING_THERE, 0, SHARE_R14
    .quad MMIO, 16, OUT, NOTHING_THERE, 0, SHARE_R14
    .quad MMIO, 4, 2, NOTHING_THERE, 0, SHARE_R14
    .quad MMIO, 4, IN, NOTHING_THERE, 0, 0
    .quad MMIO, 4, IN, -1, 0, SHARE_R14
    .quad MMIO, 8, OUT, NOTHING_THERE + 0xffc, 0x1122334455667788, SHARE_R14
    .quad MMIO, 4, OUT, 1 << 60, 0x55, SHARE_R14
# CPUID of everything at once.
    .quad CPUID, -1, -1, 0, 0, 0
bad_calls_end:

nowhere:
    .word 0xfff
    .quad 0x7ffffffff000
noise:
    .byte 0x1b
    .ascii "[2J"
    .byte 0x1b
    .ascii "]0;owned"
    .byte 7, 0x9b
    .ascii "31m[bold]"
    .byte 0xe2, 0x80, 0xae, 0, 8, 0x7f, 0xff, 0xfe, 10
    .set noise_size, . - noise
    .balign 64
report_data:
    .skip 64

    .data
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff        # 0x08 code
    .quad 0x00cf93000000ffff        # 0x10 data
    .quad 0x00cff3000000ffff        # 0x18 data of CPL 3
    .quad 0x00affb000000ffff        # 0x20 code of CPL 3
task_descriptor:
    .quad 0x0000890000000067        # 0x28 the task state, below 4 GiB
    .quad 0
gdt_end:
gdt_register:
    .word gdt_end - gdt - 1
    .quad gdt

    .bss
    .balign 16
task:
    .skip 0x68
scratch:
    .skip 16
    .skip 0x1000
task_stack_end:

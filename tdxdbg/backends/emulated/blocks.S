# What each block of translated guest code calls before its first instruction
# (UC_HOOK_BLOCK): counts the block's instructions, and ends the run exactly where
# it is to end. `blocks.py` has these bytes, and says what the state means.
#
# rdi: the engine (struct uc_struct), rcx: our state. Unicorn calls it from the
# block itself, so the return address leads to the block: its code starts at a
# multiple of 64 and follows its TranslationBlock, which names that start.

# The state, as in `blocks.State`.
        .equ COUNT, 0
        .equ FIRST_LIMIT, 8
        .equ BEFORE, 16
        .equ BLOCK, 24
        .equ LIMIT, 32
        .equ WINDOW, 40
        .equ REASON, 48
        .equ NEXT, 56
        .equ CPU, 64
        .equ PAGES, 72
        .equ WRITABLE, 80
        .equ CODE, 88

# TranslationBlock, from the start of its code (192 bytes after its own).
        .equ FLAGS, 16 - 192
        .equ ICOUNT, 22 - 192
        .equ TC_PTR, 32 - 192
        .equ SEEN, 48 - 192             # orig_tb, which nothing else uses
        .equ PAGE_0, 72 - 192
        .equ PAGE_1, 80 - 192

# struct uc_struct, CPUState and CPUX86State.
        .equ UC_STOP_REQUEST, 0x56d
        .equ CPU_EXIT_REQUEST, 0x15
        .equ CPU_CFLAGS_NEXT_TB, 0x18
        .equ CPU_EXIT_NOW, 0x8a42
        .equ CPU_EFLAGS, 0x8a50 + 0x88
        .equ CPU_HFLAGS, 0x8a50 + 0xb0
        .equ IF, 1 << 9
        .equ RF, 1 << 16
        .equ INHIBIT_IRQ, 1 << 3

        .equ AT_LIMIT, 1
        .equ AT_WINDOW, 2
        .equ AT_NEW_CODE, 3
        .equ LOST, 4

        .text
begin:
        mov (%rsp), %rax
        dec %rax
        and $-64, %rax
        cmp %rax, TC_PTR(%rax)
        jne further_back
found:
        cmpq $0, SEEN(%rax)
        je first_time
seen:
        movzwl ICOUNT(%rax), %r8d
        mov COUNT(%rcx), %r9
        add %r9, %r8
        cmp FIRST_LIMIT(%rcx), %r8
        ja look
run:
        mov %r9, BEFORE(%rcx)
        mov %rax, BLOCK(%rcx)
        mov %r8, COUNT(%rcx)
        ret

# An interrupt waits for RFLAGS.IF, or the block is longer than what is left.
look:
        mov CPU(%rcx), %r10
        cmpq $0, WINDOW(%rcx)
        je no_window
        testl $IF, CPU_EFLAGS(%r10)
        jz no_window
        testl $INHIBIT_IRQ, CPU_HFLAGS(%r10)
        jnz no_window
        mov $AT_WINDOW, %edx
        jmp stop
no_window:
        mov LIMIT(%rcx), %rdx
        cmp %rdx, %r8
        jbe run
        sub %r9, %rdx
        jz at_limit
        # Another block takes this one's place, of as many instructions.
        mov %edx, CPU_CFLAGS_NEXT_TB(%r10)
        movw $-1, CPU_EXIT_NOW(%r10)
        ret
at_limit:
        mov $AT_LIMIT, %edx
stop:
        mov CPU(%rcx), %r10
        mov %rdx, REASON(%rcx)
        mov %rax, NEXT(%rcx)
        movb $1, UC_STOP_REQUEST(%rdi)
        movb $1, CPU_EXIT_REQUEST(%r10)
        movw $-1, CPU_EXIT_NOW(%r10)
        ret

# The pages of a new block: no guest may write to them from now on, unasked.
first_time:
        mov PAGES(%rcx), %r9
        mov WRITABLE(%rcx), %r10
        mov CODE(%rcx), %r11
        mov PAGE_0(%rax), %r8
        shr $12, %r8
        cmp %r9, %r8
        jae known
        cmpb $0, (%r11, %r8)
        jne second_page
        movb $1, (%r11, %r8)
        cmpb $0, (%r10, %r8)
        jne new_code
second_page:
        mov PAGE_1(%rax), %r8
        shr $12, %r8
        cmp %r9, %r8
        jae known
        cmpb $0, (%r11, %r8)
        jne known
        movb $1, (%r11, %r8)
        cmpb $0, (%r10, %r8)
        jne new_code
known:
        testl $RF, FLAGS(%rax)
        jnz with_rf
        movq $1, SEEN(%rax)
        jmp seen

# RFLAGS.RF is for one instruction, which gets a block of its own. QEMU would keep
# it up to some end of a block, and where that is depends on where the run was cut.
with_rf:
        mov CPU(%rcx), %r10
        mov BLOCK(%rcx), %r11
        test %r11, %r11
        jz rf_is_new
        testl $RF, FLAGS(%r11)
        jz rf_is_new
        andl $~RF, CPU_EFLAGS(%r10)
rf_is_new:
        testl $RF, CPU_EFLAGS(%r10)
        jz seen
        cmpw $1, ICOUNT(%rax)
        je seen
        movl $1, CPU_CFLAGS_NEXT_TB(%r10)
        movw $-1, CPU_EXIT_NOW(%r10)
        ret

new_code:
        mov $AT_NEW_CODE, %edx
        jmp stop

further_back:
        sub $64, %rax
        cmp %rax, TC_PTR(%rax)
        je found
        mov $LOST, %edx
        jmp stop

# What is called before each instruction, if Unicorn is to stop before each.
nothing:
        ret

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
        .equ STARTED, 56
        .equ NEXT, 64
        .equ CPU, 72
        .equ PAGES, 80
        .equ WRITABLE, 88
        .equ CODE, 96
        .equ RAM, 104
        .equ HOOKED, 112

# TranslationBlock, from the start of its code (192 bytes after its own).
        .equ PC, 0 - 192
        .equ FLAGS, 16 - 192
        .equ SIZE, 20 - 192
        .equ ICOUNT, 22 - 192
        .equ TC_PTR, 32 - 192
        .equ SEEN, 48 - 192             # orig_tb, which nothing else uses; see SPLIT_SHIFT
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
        .equ AT_EXCHANGE, 5
        .equ AT_RESTART, 6

# What is known of a block: that it was looked at; that its first instruction is
# CMPXCHG8B; how many instructions are before a CMPXCHG8B.
        .equ PLAIN, 1
        .equ EXCHANGE_FIRST, 2
        .equ SPLIT_SHIFT, 8
        .equ CMPXCHG8B, 0xc70f
        .equ MODRM_REG, 0x38

        .text
begin:
        mov (%rsp), %rax
        dec %rax
        and $-64, %rax
        cmp %rax, TC_PTR(%rax)
        jne further_back
found:
        cmpq $PLAIN, SEEN(%rax)
        jne special
plain:
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
        mov SEEN(%rax), %r11
        mov LIMIT(%rcx), %rdx
        sub %r9, %rdx
        jz at_limit
        testb $EXCHANGE_FIRST, %r11b
        jnz exchange
may_split:
        shr $SPLIT_SHIFT, %r11
        jnz split
        cmp LIMIT(%rcx), %r8
        jbe run
put_off:
        # Another block takes this one's place, of as many instructions.
        mov %edx, CPU_CFLAGS_NEXT_TB(%r10)
        movw $-1, CPU_EXIT_NOW(%r10)
        ret
split:
        cmp %r11, %rdx
        cmova %r11, %rdx
        jmp put_off
exchange:
        cmpq $0, HOOKED(%rcx)
        je may_split
        cmp STARTED(%rcx), %r9
        je may_split
        mov $AT_RESTART, %edx
        jmp stop
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

special:
        cmpq $0, SEEN(%rax)
        je first_time
        movzwl ICOUNT(%rax), %r8d
        mov COUNT(%rcx), %r9
        add %r9, %r8
        jmp look

# The pages of a new block: no guest may write to them from now on, unasked.
first_time:
        mov PAGES(%rcx), %r9
        mov WRITABLE(%rcx), %r10
        mov CODE(%rcx), %r11
        mov PAGE_0(%rax), %r8
        shr $12, %r8
        cmp %r9, %r8
        jae outside
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
        jmp known
outside:
        movq $PLAIN, SEEN(%rax)
        jmp plain
known:
        testl $RF, FLAGS(%rax)
        jnz with_rf
        # A CMPXCHG8B takes the flags from a CC_OP that may not be stored yet. That
        # cannot be, at the begin of a block.
        mov $AT_EXCHANGE, %edx
        cmpq $-1, PAGE_1(%rax)
        jne stop
        mov PC(%rax), %r8
        and $0xfff, %r8d
        add PAGE_0(%rax), %r8
        add RAM(%rcx), %r8
        movzwl SIZE(%rax), %r9d
        sub $2, %r9d
        jbe outside
next_byte:
        cmpw $CMPXCHG8B, (%r8)
        jne no_exchange
        mov 2(%r8), %r10b
        and $MODRM_REG, %r10b
        cmp $8, %r10b
        je stop
no_exchange:
        inc %r8
        dec %r9d
        jnz next_byte
        jmp outside

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
        mov $1, %edx
        testl $RF, CPU_EFLAGS(%r10)
        jz not_with_rf
        cmpw $1, ICOUNT(%rax)
        je plain
        jmp put_off
not_with_rf:
        mov $-1, %edx
        jmp put_off

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

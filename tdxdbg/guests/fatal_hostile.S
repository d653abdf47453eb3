# fatal_hostile: a fatal error whose text attacks the terminal that shows it.
#
# The message is the guest's to choose. This one clears the screen, sets a title,
# turns the direction of the text, closes a markup tag, and has control bytes of
# both kinds, no end (all 64 bytes are used) and bytes that are no UTF-8. What it
# says first, on the serial port, does the same. R12 says that R13 holds the GPA of
# a page with more text; there is no such page.
#
# Ends: fatal error. None of it may reach a terminal as it is.

    .include "td.inc"

START
    lea noise(%rip), %rdi
    mov $noise_size, %esi
    call put_bytes
    lea message(%rip), %rax
    mov $1, %r12d
    shl $63, %r12
    mov $0xfffffffff001, %r13
    mov 0(%rax), %r14
    mov 8(%rax), %r15
    mov 16(%rax), %rbx
    mov 24(%rax), %rdi
    mov 32(%rax), %rsi
    mov 40(%rax), %r8
    mov 48(%rax), %r9
    mov 56(%rax), %rdx
panic:
    TDVMCALL REPORT_FATAL_ERROR, AS_LINUX
    jmp panic

    .section .rodata
    .set ESC, 0x1b
    .set BEL, 7
message:
    .byte ESC
    .ascii "[2J"                    # clears the screen
    .byte ESC
    .ascii "]0;root#"               # sets the title
    .byte BEL
    .byte 0xe2, 0x80, 0xae          # U+202E: right to left from here
    .ascii "[/][red]"               # markup
    .byte 0x9b, '3', '1', 'm'       # C1: CSI
    .byte 0, 8, 13, 10, 0x7f        # a zero in the middle, BS, CR, LF, DEL
    .byte 0xff, 0xfe, 0xc0, 0x80    # no UTF-8
    .byte 0xe2, 0x80, 0x8b          # U+200B: no width
    .ascii "the TD is fine"
    .byte 0xcc, 0x81, 0xcc, 0x81    # accents on top of it
    .ascii "!!!!!"
    .if . - message != 64
    .error "the message has to fill 64 bytes"
    .endif
noise:
    .byte ESC
    .ascii "c"                      # resets the terminal
    .byte ESC
    .ascii "]52;c;aGk="             # writes the clipboard
    .byte BEL
    .byte ESC
    .ascii "P+q544e"                # asks for a setting
    .byte ESC, 0x5c
    .byte 0x9d
    .ascii "0;x"
    .byte 0x9c, 0xe2, 0x80, 0xae, 0xe2, 0x81, 0xa6
    .ascii "[bold]\\[link=a]"
    .byte 0, 5, 0x0e, 0x0f, 0x1a, 0x80, 0xf0, 0x9f
    .ascii "\r\n"
    .set noise_size, . - noise

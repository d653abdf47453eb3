# selftest_io_exits: each OUT is followed by an IN whose value matters.
#
# After KVM's TDX selftest of the same purpose: the guest writes a byte to port
# 0x50 and reads one there, three times; userspace has to answer with one more than
# what was written. An unassigned port reads as ones, so that only somebody who
# holds the exit and edits the answer makes it pass.
#
# Ends: 0 to the debug-exit port; 1 when a value was not the expected one.

    .include "td.inc"

    .set TEST_PORT, 0x50

START
    mov $1, %ebx
1:  PORT_OUT TEST_PORT, 1, %ebx
    PORT_IN TEST_PORT, 1
    PRINT "wrote "
    PRINT_HEX %rbx
    PRINT ", read "
    PRINT_HEX %r11
    PRINT "\n"
    inc %ebx
    cmp %rbx, %r11
    jne 2f
    cmp $4, %ebx
    jb 1b
    EXIT 0
2:  EXIT 1

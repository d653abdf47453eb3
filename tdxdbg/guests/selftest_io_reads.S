# selftest_io_reads: IN of 1, 2 and 4 bytes, and of 5.
#
# After KVM's TDX selftest of the same purpose: userspace has to answer 0xab,
# 0xabcd and 0xffabcdef; the last size does not exist, and KVM says so. All ones,
# as from an unassigned port, is not what the guest wants.
#
# Ends: 0 to the debug-exit port; 1 when a value was not the expected one.

    .include "td.inc"

    .set TEST_PORT, 0x52

.macro EXPECT size, value
    PORT_IN TEST_PORT, \size
    PRINT "read "
    PRINT_HEX %r11
    PRINT "\n"
    mov $\value, %ecx
    cmp %rcx, %r11
    jne wrong
.endm

START
    EXPECT 1, 0xab
    EXPECT 2, 0xabcd
    EXPECT 4, 0xffabcdef
    PORT_IN TEST_PORT, 5
    PRINT "5 bytes: "
    PRINT_HEX %r10
    PRINT "\n"
    EXIT 0
wrong:
    EXIT 1

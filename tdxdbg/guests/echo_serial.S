# echo_serial: echoes what is typed into its serial port, with a prompt for each line.
#
# It does what a console driver does with a 16550: the interrupt of received data
# is on, and while the line status register says that no byte waits, the vCPU halts
# (where the call is refused it asks again). A byte that came before the guest was
# ready waits in the port.
#
# Ends: Ctrl-D; writes 0 to the debug-exit port.

    .include "td.inc"

    .set IER, COM1 + 1
    .set MCR, COM1 + 4
    .set LSR, COM1 + 5
    .set IER_RECEIVED, 0x01
    .set MCR_ON, 0x0b               # DTR, RTS, and OUT2 lets the interrupt through
    .set LSR_READY, 0x01

    .set END_OF_TRANSMISSION, 0x04
    .set DELETE, 0x7f

START
    call idt_install
    PORT_OUT MCR, 1, $MCR_ON
    PORT_OUT IER, 1, $IER_RECEIVED
    PRINT "Type; Ctrl-D ends.\r\n"
prompt:
    PRINT "> "
    xor %ebx, %ebx                  # characters of this line
next:
    PORT_IN LSR, 1
    test $LSR_READY, %r11b
    jnz received
    WAIT_FOR_INTERRUPT
    jmp next
received:
    PORT_IN COM1, 1
    movzbl %r11b, %ebp
    cmp $END_OF_TRANSMISSION, %ebp
    je end
    cmp $'\r', %ebp
    je line
    cmp $DELETE, %ebp
    je erase
    PORT_OUT COM1, 1, %ebp
    inc %ebx
    jmp next
erase:
    test %ebx, %ebx
    jz next
    dec %ebx
    PRINT "\b \b"
    jmp next
line:
    PRINT "\r\n"
    jmp prompt
end:
    PRINT "\r\n"
    EXIT 0

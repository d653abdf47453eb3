# hello_serial: says hello through a 16550 UART, as early boot code does.
#
# It does what a driver of the UART does: sets the line to 115200 8N1, then
# waits before each byte until the transmitter is empty. Every access of a port
# is a TDG.VP.VMCALL<Instruction.IO>, and KVM has no UART of its own, so each one
# becomes a KVM_EXIT_IO. There is no #VE: the guest knows that it is a TD.
#
# Ends: writes 0 to the debug-exit port.

    .include "td.inc"

    .set DLL, COM1 + 0
    .set DLM, COM1 + 1
    .set FCR, COM1 + 2
    .set LCR, COM1 + 3
    .set MCR, COM1 + 4
    .set LSR, COM1 + 5
    .set LSR_TRANSMITTER_EMPTY, 0x20

START
    PORT_OUT LCR, 1, $0x80          # the divisor is at the first two ports now
    PORT_OUT DLL, 1, $1             # 115200 baud
    PORT_OUT DLM, 1, $0
    PORT_OUT LCR, 1, $0x03          # 8 bits, no parity, one stop bit
    PORT_OUT FCR, 1, $0x07          # FIFOs on and empty
    PORT_OUT MCR, 1, $0x03          # DTR and RTS

    lea hello(%rip), %rbx
next:
    PORT_IN LSR, 1
    test $LSR_TRANSMITTER_EMPTY, %r11b
    jz next
    movzbl (%rbx), %edi
    PORT_OUT COM1, 1, %edi
    inc %rbx
    cmpb $0, (%rbx)
    jne next
    EXIT 0

    .section .rodata
hello:
    .asciz "Hello from a trust domain.\n"

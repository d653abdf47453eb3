# mmio_probe: looks for a virtio device, without an #VE on the way.
#
# Firmware that knows it is a TD reads the registers of a virtio-mmio device by
# TDG.VP.VMCALL<#VE.RequestMMIO>: 4 bytes at the magic value, the version and the
# device's number, then a status is written and read back. Then accesses of every
# size, a GPA with nothing behind it, and three that KVM refuses: a private GPA, 3
# bytes, a direction that does not exist.
#
# Ends: 0 to the debug-exit port; 1 when the magic value is not "virt".

    .include "td.inc"

    .set MAGIC, 0x74726976
    .set VERSION, 4
    .set DEVICE_ID, 8
    .set STATUS, 0x70

# R11 = size bytes at a GPA, RBX + offset. R10 is the status.
.macro READ size, offset
    mov $\size, %r12d
    mov $IN, %r13d
    lea \offset(%rbx), %r14
    xor %r15d, %r15d
    TDVMCALL MMIO
.endm

START
    mov shared_bit(%rip), %rbx
    mov $VIRTIO_MMIO, %eax
    or %rax, %rbx

    READ 4, 0
    cmp $MAGIC, %r11
    jne no_device
    PRINT "a virtio device: version "
    READ 4, VERSION
    PRINT_DEC %r11
    PRINT ", number "
    READ 4, DEVICE_ID
    PRINT_DEC %r11
    PRINT "\n"
    mov $4, %r12d
    mov $OUT, %r13d
    lea STATUS(%rbx), %r14
    mov $1, %r15d
    TDVMCALL MMIO
    READ 4, STATUS
    PRINT "its status is "
    PRINT_HEX %r11
    PRINT "\n"

    PRINT "1, 2, 4, 8 bytes where nothing is: "
    mov shared_bit(%rip), %rbx
    mov $NOTHING_THERE, %eax
    or %rax, %rbx
    READ 1, 0
    call say_value
    READ 2, 0
    call say_value
    READ 4, 0
    call say_value
    READ 8, 0
    call say_value
    PRINT "\n3 bytes: "
    READ 3, 0
    PRINT_HEX %r10
    PRINT "\ndirection 2: "
    mov $4, %r12d
    mov $2, %r13d
    mov %rbx, %r14
    xor %r15d, %r15d
    TDVMCALL MMIO
    PRINT_HEX %r10
    PRINT "\na private GPA: "
    mov $NOTHING_THERE, %ebx
    READ 4, 0
    PRINT_HEX %r10
    PRINT "\n"
    EXIT 0

no_device:
    PRINT "no virtio device, the first register is "
    PRINT_HEX %r11
    PRINT "\n"
    EXIT 1

say_value:
    PRINT_HEX %r11
    PRINT " "
    ret

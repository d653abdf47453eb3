# What Unicorn calls to find the memory of an address (uc_struct.memory_mapping).
# `clean_stores.py` has these bytes, and says why.
#
# rdi: the engine, rsi: a physical address; called from notdirty_write(), which
# keeps the TLB entry of a store in rbp, it is told by what follows the call.

# CPUTLBEntry.
        .equ ADDR_WRITE, 8
        .equ FLAGS, 0xfff
        .equ NOT_DIRTY, 0x400

        .text
begin:
        movabs $0, %rax                 # find_memory_mapping()
        movabs $0, %r10                 # whether there is no write hook: a byte
        cmpb $0, (%r10)
        je done
        mov (%rsp), %r10
        movabs $0xc189492d74c08548, %r11
        cmp %r11, (%r10)
        jne done
        mov ADDR_WRITE(%rbp), %r10d
        and $FLAGS, %r10d
        cmp $NOT_DIRTY, %r10d
        jne done
        andq $~NOT_DIRTY, ADDR_WRITE(%rbp)
done:
        jmp *%rax

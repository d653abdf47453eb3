"""One file per TDVMCALL sub-function: its `handle*` and its `complete*`.

A handler takes the engine (`kvm`), the vCPU and the input, changes the vCPU
and returns the Outcome, as the kernel's handlers return 1, 0 or -errno.
"""

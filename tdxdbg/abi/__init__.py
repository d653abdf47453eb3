"""Numbers and names only: GHCI, TDX module, VMX, KVM. No behaviour."""

"""Above KVM: who answers KVM_EXIT_*."""

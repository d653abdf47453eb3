"""TD exits, struct kvm_run and Steps as rows of (name, raw, meaning): plain text only."""

"""Editing userspace's answer, live and in a recording, and what comes of it."""

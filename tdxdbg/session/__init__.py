"""A live run of a TD: a worker process that holds its world, and the client of it."""

from tdxdbg.session.client import Event, Registers, SessionDied
from tdxdbg.session.config import LiveConfig
from tdxdbg.session.session import Session
from tdxdbg.session.state import State

__all__ = ["Event", "LiveConfig", "Registers", "Session", "SessionDied", "State"]

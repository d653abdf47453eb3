"""`e` in a recording: another answer, run on a copy of the engine, beside what was recorded."""

from __future__ import annotations

from typing import Final

from tdxdbg.engine import Answer, Outcome
from tdxdbg.errors import SessionError
from tdxdbg.session.edit import edited, fields_of
from tdxdbg.timeline import Moment, Timeline
from tdxdbg.timeline.answered import WhatIfAnswer, what_if_answer
from tdxdbg.ui.answer.form import AnswerForm, WrongValueError
from tdxdbg.ui.answer.outcomes import Page
from tdxdbg.ui.core import Core
from tdxdbg.ui.layout import QUEUE, UAPI
from tdxdbg.ui.lines import own, word
from tdxdbg.ui.panes.base import call_at
from tdxdbg.ui.panes.queue import QueuePane
from tdxdbg.ui.panes.uapi import UapiPane
from tdxdbg.ui.status import REPLAY_BADGE, Message
from tdxdbg.vmm import Reply

_WHAT_IF: Final = (own(" WHAT IF "), "retry_badge")


class Answering(Core, inherit_bindings=False):
    """Edits userspace's answer to an exit that was recorded."""

    #: What was found out, and the timeline that it is about.
    what_if: WhatIfAnswer | None = None
    _what_if_under: Timeline | None = None
    _focus_before = QUEUE

    @property
    def _uapi(self) -> UapiPane:
        pane = self.panes[UAPI]
        assert isinstance(pane, UapiPane)
        return pane

    def show(self) -> None:
        if self.what_if is not None:
            self._under_this_kernel(self.what_if)
        super().show()

    # --- the form -----------------------------------------------------------------------

    def action_edit(self) -> None:
        self._quiet()
        moment = self._at_an_exit()
        if moment is None:
            return
        run = moment.shown.run if moment.shown is not None else None
        if run is None:
            self._say("KVM_RUN failed here: there is no answer to give", "dim")
            return
        recorded, given = self._answers(moment)
        form = AnswerForm.of(run, fields_of(run, given), fields_of(run, recorded))
        form.recorded = True
        if not form.fields:
            self._say("this exit has no answer: userspace only calls KVM_RUN", "dim")
            return
        form.start()
        uapi = self._uapi
        uapi.form, uapi.form_at = form, (moment.row, moment.step)
        uapi.give, uapi.dropped = self._try_answer, self._form_dropped
        self._focus_before = self.desk.view.focus
        self.focus_pane(UAPI)
        uapi.show(uapi.moment)
        tab = "  Tab: next field" if len(form.fields) > 1 else ""
        self._say(f"{form.takes()}  Enter: what if?{tab}  Esc drops it", "focus")

    def _at_an_exit(self) -> Moment | None:
        """The step of the cursor, or the one before it, that asks userspace; goes there."""
        moment = self.moment()
        if moment is not None and moment.step and _entered(moment):
            self.go(moment.row, moment.step - 1)
            moment = self.moment()
        if moment is None or moment.shown is None:
            self._say("what KVM did here was not recorded: nothing can be answered", "dim")
            return None
        if _entered(moment):
            self._say("handled in the kernel: nothing asks userspace in this exit", "dim")
            return None
        return moment

    def _answers(self, moment: Moment) -> tuple[Answer | None, Answer | None]:
        """What was recorded, and what is edited: that, or the answer that is being tried."""
        recorded = moment.answer.answer if moment.answer is not None else None
        tried = self.what_if
        if tried is not None and (tried.row, tried.step) == (moment.row, moment.step):
            return recorded, tried.answer
        return recorded, recorded

    def _form_dropped(self) -> None:
        self.hints.say(None)
        self._close_form()

    def _close_form(self) -> None:
        self._uapi.form = None
        self.focus_pane(self._focus_before)
        self._uapi.show(self._uapi.moment)

    def _try_answer(self) -> None:
        """Enter: what was typed is answered, on a copy."""
        form, moment = self._uapi.form, self._uapi.moment
        if form is None or moment is None:
            return
        recorded, given = self._answers(moment)
        try:
            values = form.values()
            reply = edited(form.run, Reply(given), Reply(given), values)
        except (WrongValueError, SessionError) as error:
            self._say(str(error), "error")
            return
        form.cancel()
        self._close_form()
        if not values and given == recorded:
            self._say("nothing was changed: this is the recorded answer", "dim")
            return
        self.try_answer(moment.row, moment.step, reply.answer)

    # --- the other course ---------------------------------------------------------------

    def try_answer(self, row: int, step: int, answer: Answer | None) -> None:
        """Answer this exit otherwise, and show both courses where it is."""
        self.what_if = what_if_answer(self.timeline, row, step, answer)
        self._what_if_under = self.timeline
        self._show_what_if()
        self.show()
        if self.what_if.other is None:
            self._say(f"not computed: {self.what_if.problem}", "error")
        else:
            self._say(
                f"what if: both outcomes stand in the uAPI pane; {self.key('undo')} drops it", "ok"
            )

    def _under_this_kernel(self, found: WhatIfAnswer) -> None:
        """Another kernel is shown now: what it does with that answer."""
        before, self._what_if_under = self._what_if_under, self.timeline
        if before is self.timeline:
            return
        if before is None or before.trace is not self.timeline.trace:
            self.what_if = None
        else:
            self.what_if = what_if_answer(self.timeline, found.row, found.step, found.answer)
        self._show_what_if()

    def _show_what_if(self) -> None:
        """Tell the panes; the status line and the exit's row say WHAT IF."""
        found, uapi = self.what_if, self._uapi
        uapi.page = self._page(found) if found is not None else None
        self.status.badges = (REPLAY_BADGE, _WHAT_IF) if found is not None else (REPLAY_BADGE,)
        queue = self.panes[QUEUE]
        if isinstance(queue, QueuePane):
            queue.what_if = found.row if found is not None else None
            queue.refresh()
        uapi.show(uapi.moment)

    def _page(self, found: WhatIfAnswer) -> Page:
        here = self.timeline.moment(found.row, found.step)
        name = own("recorded")
        if self.timeline.what_if:
            name = word(f"{self.timeline.generation.name} as is")[0]
        return Page(found, here, call_at(self.timeline, here), name)

    def action_undo(self) -> None:
        self._quiet()
        if self.what_if is None:
            self._say(f"nothing to undo: {self.key('edit')} edits the answer to an exit", "dim")
            return
        self.what_if = None
        self._show_what_if()
        self.show()
        self._say("dropped: this is the recording again", "dim")

    def _say(self, text: str, role: str) -> None:
        self.hints.say(Message(word(text)[0], role))


def _entered(moment: Moment) -> bool:
    return moment.shown is not None and moment.shown.outcome is Outcome.REENTER_TD
